from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

import pytest

from gateway import paths
from gateway.conf import config
from gateway.process.state_files import is_volatile
from tests.ports import free_port

NOWHERE = Path("/proc/nowhere")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE", tmp_path / "var")
    monkeypatch.setattr(paths, "SOCKET", tmp_path / "run/control")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("defaults", "file"),
    [
        ("CONFIG=/etc/my.conf\n", "/etc/my.conf"),
        ('CONFIG="/srv/a b.conf"\r\n', "/srv/a b.conf"),
        ("CONFIG='/etc/my.conf' # moved\n", "/etc/my.conf"),
        ("CONFIG=/etc/first.conf\nCONFIG=/etc/my.conf \n", "/etc/my.conf"),
        ("#CONFIG=/etc/my.conf\n", "/etc/oemgateway.conf"),
        ("CONFIG=\nDAEMON_ARGS=\n", "/etc/oemgateway.conf"),
    ],
)
def test_the_service_reads_the_file_that_its_defaults_name(defaults, file, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DEFAULTS", tmp_path / "defaults")
    assert paths.file_of_service() == paths.DEFAULT_FILE
    paths.DEFAULTS.write_text(defaults)
    assert paths.file_of_service() == Path(file)


def test_the_state_is_where_it_is_named(tmp_path):
    assert paths.make_state_dir(tmp_path / "named") == paths.find_state_dir(tmp_path / "named")
    with pytest.raises(OSError, match="state_dir"):
        paths.make_state_dir(NOWHERE)


def test_the_state_is_in_var_lib(tmp_path):
    assert paths.find_state_dir(None) == paths.make_state_dir(None) == tmp_path / "var"


def test_the_state_of_a_user_who_may_not_write_there_is_his_own(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE", NOWHERE)
    directory = paths.make_state_dir(None)
    assert directory == tmp_path / "home/oemgateway"
    (directory / "queue.db").touch()
    assert paths.find_state_dir(None) == directory


@pytest.fixture
def joe(tmp_path, monkeypatch) -> Path:
    """Given a user who may not write to the service's state, and once ran the gateway by hand; his state."""
    monkeypatch.setattr(paths, "DEFAULTS", tmp_path / "defaults")
    paths.STATE.mkdir()
    access, may_not = os.access, (paths.STATE, os.W_OK)
    monkeypatch.setattr(
        paths.os, "access", lambda place, mode: (place, mode) != may_not and access(place, mode)
    )
    own = tmp_path / "home/oemgateway"
    own.mkdir(parents=True)
    (own / "queue.db").touch()
    return own


def test_the_state_with_the_file_of_the_service_is_the_services(joe, tmp_path):
    # when its state is looked for, then it is not what a user has left, unless the file is that user's
    link = tmp_path / "link.conf"
    link.symlink_to(paths.DEFAULT_FILE)
    assert paths.find_state_dir(None, paths.DEFAULT_FILE) == paths.find_state_dir(None, link) == paths.STATE
    assert paths.find_state_dir(None, tmp_path / "my.conf") == joe
    paths.DEFAULTS.write_text(f"CONFIG={tmp_path / 'my.conf'}\n")
    assert paths.find_state_dir(None, tmp_path / "my.conf") == paths.STATE
    # and where there is no service, all is that user's
    paths.STATE.rmdir()
    assert paths.find_state_dir(None, tmp_path / "my.conf") == joe


@pytest.mark.parametrize("is_named", [False, True])
def test_the_state_of_a_gateway_that_its_user_runs_now_is_that_users(joe, tmp_path, is_named):
    control = tmp_path / "named" if is_named else joe / "control"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(control))
        found = partial(paths.find_state_dir, None, paths.DEFAULT_FILE, control if is_named else None)
        assert found() == paths.STATE  # it was killed, and left that
        server.listen()
        assert found() == joe


def test_a_configuration_knows_whose_state_it_is_about(joe, written, tmp_path):
    # given the file of the service, with and without a fault
    listener = f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n"
    whole = f"[gateway]\n{listener}[dispatchers]\n[[log]]\ntype = log\n"
    for text in (whole, "[gateway]\nloglevel = LOUD\n", "port = 5\n"):
        file = written(text)
        assert config.read_gateway(file)[0].find_state_dir() == joe
        paths.DEFAULTS.write_text(f"CONFIG={file}\n")
        # when it is read, then its state is that of the service
        assert config.read_gateway(file)[0].find_state_dir() == paths.STATE
        paths.DEFAULTS.unlink()
    paths.DEFAULTS.write_text(f"CONFIG={written(whole)}\n")
    assert config.read(written(whole)).gateway.find_state_dir() == paths.STATE
    assert config.defaults(written("")).find_state_dir() == paths.STATE


@pytest.mark.needs_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_home_that_is_another_users_is_not_looked_into(tmp_path, monkeypatch, mode):
    # given a user whose HOME is that of root, as sudo -u may leave it
    if os.geteuid():
        pytest.skip("only root can become another user")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(mode)
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setuid(1234)
            os._exit(paths.find_state_dir(None) != tmp_path / "var" or tmp_path in paths.own_state().parents)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.needs_root
def test_root_does_not_keep_its_state_in_the_home_of_another_user(tmp_path, monkeypatch):
    if os.geteuid():
        pytest.skip("only root can give a directory away")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.own_state() == tmp_path / ".local/state/oemgateway"
    os.chown(tmp_path, 1234, 1234)
    assert tmp_path not in paths.own_state().parents


def test_the_socket_is_named_or_in_run_or_beside_the_queue(tmp_path, monkeypatch):
    assert paths.make_socket_path(tmp_path / "named", tmp_path) == tmp_path / "named"
    assert paths.make_socket_path(None, tmp_path) == tmp_path / "run/control"
    assert paths.find_socket(None, tmp_path) == tmp_path / "run/control"
    monkeypatch.setattr(paths, "SOCKET", NOWHERE / "control")
    assert paths.make_socket_path(None, tmp_path) == tmp_path / "control"
    (tmp_path / "control").touch()
    assert paths.find_socket(None, tmp_path) == tmp_path / "control"


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib/oemgateway", ""),
        ("/run/oemgateway", "tmpfs"),
        ("/run/user/disk/oemgateway", ""),
        ("/ro/oemgateway", "overlay"),
        ("/tmp/oemgateway", "tmpfs"),
    ],
)
def test_a_directory_that_a_power_cut_empties_is_told(tmp_path, directory, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "27 1 179:2 / / rw,relatime - ext4 /dev/root rw\n"
        "24 27 0:22 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=9k\n"
        "25 24 8:1 / /run/user/disk rw - ext4 /dev/sda1 rw\n"
        "28 27 179:2 /tmp/systemd-private-1f-oemgateway.service-Ab/tmp /tmp rw - ext4 /dev/root rw\n"
        "26 27 0:30 / /ro rw - overlay overlay rw,lowerdir=/lower,upperdir=/upper\n"
    )
    assert is_volatile(Path(directory), mounts) == kind


def test_where_the_kernel_does_not_tell_nothing_is_said(tmp_path):
    assert is_volatile(tmp_path, tmp_path / "nothing") == ""


def test_a_closed_directory_that_a_link_leads_into_is_named(tmp_path, monkeypatch):
    # given a file in a home that this user may not enter, and a link to it
    home, link = tmp_path / "home", tmp_path / "oemgateway.conf"
    home.mkdir()
    link.symlink_to(home / "dotfiles" / "oemgateway.conf")
    monkeypatch.setattr(paths.os, "access", lambda place, mode: mode == os.F_OK or place != home)
    # when it is asked what is closed, then it is the home
    assert paths.closed_above(link) == home


def test_a_tmp_that_systemd_gave_the_service_is_named(tmp_path):
    # given the mounts of a service with PrivateTmp=yes, on Debian 12 and, where /tmp is in memory, on 13
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "27 1 179:2 / / rw shared:1 - ext4 /dev/root rw\n"
        "90 27 179:2 /tmp/systemd-private-1f-oemgateway.service-Ab/tmp /tmp rw - ext4 /dev/root rw\n"
        "91 27 0:31 /systemd-private-1f-oemgateway.service-Cd/tmp /var/tmp rw - tmpfs tmpfs rw\n"
    )
    # when it is asked why it does not see files that others see, then only what is below these is named
    for place in ("/tmp", "/var/tmp"):
        said = paths.hidden(Path(place, "pulses"), mounts)
        assert said == f"the service has a {place} of its own (PrivateTmp): use another directory"
    assert paths.hidden(Path("/nowhere/pulses"), mounts) == ""


def test_a_closed_directory_above_what_is_hidden_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.os, "access", lambda place, mode: mode == os.F_OK or place != tmp_path)
    said = paths.hidden(tmp_path / "pulses")
    assert said == f"this user may not enter {tmp_path}: use another directory"
