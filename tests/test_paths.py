from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import paths
from gateway.process.state_files import is_volatile

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


@pytest.mark.needs_root
def test_a_home_that_is_another_users_is_not_looked_into(tmp_path, monkeypatch):
    # given a user whose HOME is that of root, as sudo -u may leave it
    if os.geteuid():
        pytest.skip("only root can become another user")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setuid(1234)
            os._exit(paths.find_state_dir(None) != tmp_path / "var" or tmp_path in paths.own_state().parents)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


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
