#!/bin/sh
# What `make install`, `make uninstall` and `make purge` do: install.sh ACTION, with PYTHON and DESTDIR from make.
# `install.sh fetch COMMAND` runs a command that fetches packages, for the other targets.
# With DESTDIR the files are put below it and nothing else is done: no user is made, nothing is enabled or started.
set -eu
umask 022

ACTION=$1
ROOT=${DESTDIR:+$(realpath -m "$DESTDIR")}
# All else finds the program by the link to its command in /usr/local/bin. docs/install.rst names this folder too.
PREFIX=/opt/oemgateway
# It may be a link, as to a larger disk.
PROGRAM=$(realpath -m "$ROOT$PREFIX")
NEW=$PROGRAM.new
COMMAND=$PROGRAM/bin/oemgateway
# A copy of what was installed last: it shows what is new, and which file in /etc has been edited since.
LAST=$PROGRAM/source
LINK=$ROOT/usr/local/bin/oemgateway
MAN=$ROOT/usr/local/share/man
COMPLETIONS=$ROOT/usr/local/share/bash-completion/completions
UNIT=etc/systemd/system/oemgateway.service
SCRIPT=init.d/oemgateway
CONFIG=/etc/oemgateway.conf
STATE=/var/lib/oemgateway
LOGS=/var/log/oemgateway
# Files in /etc, beside the configuration, that are not overwritten once they have been edited.
RULE=udev/rules.d/60-oemgateway.rules
SETTINGS="default/oemgateway logrotate.d/oemgateway $RULE"

say() {
    echo "oemgateway: $*"
}

die() {
    say "$*" >&2
    exit 1
}

# remove PATH...: where a disk is mounted, what is on it goes, the place stays, and that is no failure.
remove() {
    for path; do
        if ! said=$(LC_ALL=C rm -rf "$path" 2>&1); then
            if [ -d "$path" ] && [ "$said" = "rm: cannot remove '$path': Device or resource busy" ]; then
                say "$path stays, empty: a disk is mounted there"
            else
                say "$path stays: $said"
            fi
        fi
    done
}

has_systemd() {
    [ -d /run/systemd/system ]
}

# Distinguish our script and unit from those of another gateway, which may have the same name.
is_ours() {
    grep -qs "Sensor and radio readings to Emoncms" "$1"
}

has_service() {
    if has_systemd; then is_ours "/$UNIT"; else is_ours "/etc/$SCRIPT"; fi
}

is_running() {
    has_service && service oemgateway status >/dev/null 2>&1
}

has_user() {
    getent passwd oemgateway >/dev/null
}

# Tell whether its user is one that an installer has made, at home where the readings are: no other may be deleted.
has_own_user() {
    getent passwd oemgateway | grep -Eq "^([^:]*:){2}[0-9]{1,3}:.*:$STATE:"
}

# Debian gives persons, and their groups, numbers of four digits.
need_name() {
    ! { getent passwd oemgateway || :; getent group oemgateway || :; } | grep -Eq '^([^:]*:){2}[0-9]{4}' \
        || die "a person's account or group is called oemgateway here, and the gateway needs that name for a user of" \
            "its own: rename it (sudo usermod --login NAME oemgateway; sudo groupmod --new-name NAME oemgateway)," \
            "then sudo make install"
}

need_root() {
    [ "$(id -u)" = 0 ] || die "root is needed: sudo make $ACTION"
    case $(dpkg-query -W -f '${Status}' oemgateway 2>/dev/null) in
        *" installed") die "the Debian package is installed: sudo apt remove oemgateway, then sudo make $ACTION" ;;
    esac
}

make_user() {
    getent group oemgateway >/dev/null || groupadd --system oemgateway
    has_user || useradd --system --gid oemgateway --comment "oemgateway" --home-dir "$STATE" --no-create-home \
        --shell /usr/sbin/nologin oemgateway
    # It may have been there, with another group; and serial ports, I2C and GPIO belong to the others.
    id -nG oemgateway | grep -qw oemgateway || usermod -aG oemgateway oemgateway
    for group in dialout i2c gpio; do
        ! getent group "$group" >/dev/null || usermod -aG "$group" oemgateway
    done
}

# A file that was there before may be readable by all, or by root only.
guard_configuration() {
    [ -n "$(find -H "$CONFIG" \( -perm /o=rwx -o -user root -group root \))" ] || return 0
    if chown root:oemgateway "$CONFIG" && chmod 0640 "$CONFIG"; then
        say "$CONFIG holds the key: from now on only root and the group oemgateway may read it"
    else
        say "$CONFIG holds the key, and it cannot be set who may read it (FAT, as of /boot/firmware, keeps no" \
            "owners): better have the file itself in /etc"
    fi
}

# The configuration holds the key, and is never overwritten.
place_configuration() {
    if [ ! -e "$ROOT$CONFIG" ]; then
        install -D -m 0640 etc/oemgateway.conf "$ROOT$CONFIG"
        [ -n "$ROOT" ] || chgrp oemgateway "$CONFIG"
    elif cmp -s etc/oemgateway.conf "$ROOT$CONFIG"; then
        rm -f "$ROOT$CONFIG.new"
    elif ! cmp -s etc/oemgateway.conf "$LAST/etc/oemgateway.conf"; then
        install -m 0640 etc/oemgateway.conf "$ROOT$CONFIG.new"
        say "$CONFIG is kept; what is new is in $CONFIG.new"
    fi
    [ -n "$ROOT" ] || guard_configuration
}

# place FILE: put one of SETTINGS in place, unless it has been edited there.
place() {
    there=$ROOT/etc/$1
    if [ ! -e "$there" ] || cmp -s "$there" "$LAST/etc/$1"; then
        cmp -s "etc/$1" "$there" || install -D -m 0644 "etc/$1" "$there"
    elif ! cmp -s "etc/$1" "$there" && ! cmp -s "etc/$1" "$LAST/etc/$1"; then
        say "$there is kept; what is new is in $LAST/etc/$1"
    fi
}

# Copy what the program consists of, without what running it here has left.
stage() {
    STAGE=$(mktemp -d)
    chmod 0755 "$STAGE"
    trap 'rm -rf "$STAGE" "$NEW"' EXIT
    cp -R setup.cfg pyproject.toml README.rst LICENSE docs gateway listeners etc "$STAGE"
    # It has a key where someone has filled it in here, and not in /etc.
    chmod 0640 "$STAGE/etc/oemgateway.conf"
    find "$STAGE" -name __pycache__ -prune -exec rm -rf {} +
}

# -P, here and below: import what is installed, not what is in this folder.
runs_here() {
    "$PROGRAM/bin/python" -P -c "$1" 2>/dev/null
}

# Tell whether it was installed for the Python that Debian has now.
is_of_this_python() {
    runs_here 'import pathlib, sysconfig
raise SystemExit(pathlib.Path(sysconfig.get_path("purelib")).parent.is_symlink())'
}

is_up_to_date() {
    diff -rq "$STAGE" "$LAST" >/dev/null 2>&1 && [ -L "$LINK" ] && runs_here 'import gateway.commands.main' \
        && is_of_this_python
}

# fetch NEXT COMMAND...: run a command that fetches packages; if it fails, say why, and what to do before NEXT.
fetch() {
    next=$1
    shift
    said=$("$@" 2>&1) && return
    case $said in
        *CERTIFICATE_VERIFY_FAILED* | *"certificate verify failed"*)
            die "packages could not be fetched: the certificate of their server was refused, and this machine's" \
                "clock shows $(LC_ALL=C date '+%-d %B %Y, %H:%M'). If that is wrong, set it" \
                "(sudo date -s '2026-01-31 18:30'), then $next"
            ;;
    esac
    echo "$said" | grep '^ERROR' >&2 || echo "$said" >&2
    case $said in
        *"No module named pip"*) die "the environment in .venv is incomplete: rm -rf .venv, then $next" ;;
        *"Permission denied"*) die "a folder belongs to another user: sudo rm -rf .venv, then $next" ;;
        *"No space left on device"*) die "the disk is full: make room, then $next" ;;
    esac
    die "packages could not be fetched: connect to the network once, then $next"
}

pip_install() {
    fetch "make $ACTION again" "$PROGRAM/bin/python" -m pip install --disable-pip-version-check --no-input -qq "$@"
}

# The tools that make the manual pages and the completion are needed only here. The gateway runs without the pages.
make_manual() {
    rm -f "$MAN/man1/oemgateway.1" "$MAN/man5/oemgateway.conf.5" "$COMPLETIONS/oemgateway"
    if "$PROGRAM/bin/python" -m pip install --disable-pip-version-check --no-input -qq --target "$STAGE/tools" \
        argparse-manpage shtab 2>/dev/null \
        && PYTHONPATH=$STAGE/tools "$PROGRAM/bin/python" -P "$LAST/docs/manual/build.py" \
            "$STAGE/manual" "$PREFIX/source/etc/oemgateway.conf"; then
        install -D -m 0644 "$STAGE/manual/oemgateway.1" "$MAN/man1/oemgateway.1"
        install -D -m 0644 "$STAGE/manual/oemgateway.conf.5" "$MAN/man5/oemgateway.conf.5"
        install -D -m 0644 "$STAGE/manual/oemgateway" "$COMPLETIONS/oemgateway"
    else
        say "there is no manual page, as argparse-manpage and shtab could not be fetched; oemgateway --help has it all"
    fi
}

install_program() {
    there=$PROGRAM
    # When Debian has replaced its Python by another version, the environment has to be made again. What is there may run.
    if ! { runs_here 'import pip' && is_of_this_python; }; then
        PROGRAM=$NEW
        "$PYTHON" -m venv --clear "$PROGRAM"
    fi
    # pip fetches and builds everything before it replaces anything: a failure leaves the gateway as it was.
    runs_here 'import setuptools, wheel' || pip_install "setuptools >= 66" wheel
    pip_install --no-build-isolation "$STAGE"
    # Until then the service goes on with these: they are in Python, and a newer one runs them.
    here=$(basename "$(dirname "$("$PROGRAM/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')")")
    for minor in 12 13 14 15 16 17; do
        [ -e "$PROGRAM/lib/python3.$minor" ] || ln -s "$here" "$PROGRAM/lib/python3.$minor"
    done
    grep -rlI "$PROGRAM" "$PROGRAM/bin" "$PROGRAM/pyvenv.cfg" | xargs -r sed -i "s|$PROGRAM|$PREFIX|g"
    if [ "$PROGRAM" = "$NEW" ]; then
        # On the disk first, and by names alone: a power cut is to leave the one or the other.
        sync -f "$NEW"
        [ ! -e "$there" ] || mv "$there" "$NEW/before"
        mv "$NEW" "$there"
        PROGRAM=$there
    fi
    rm -rf "$PROGRAM/before" "$STAGE/build" "$STAGE"/*.egg-info "$LAST"
    cp -R "$STAGE" "$LAST"
    make_manual
    mkdir -p "$(dirname "$LINK")"
    ln -sfn "$PREFIX/bin/oemgateway" "$LINK"
}

# set_aside FILE KEPT: stop another gateway that this file starts (oem_gateway has the same names), and move the file
# to where nothing runs it.
set_aside() {
    [ -e "$1" ] && ! is_ours "$1" || return 0
    other=$(cat /run/oemgateway.pid 2>/dev/null || :)
    service oemgateway stop || :
    [ -z "$other" ] || ! kill -0 "$other" 2>/dev/null \
        || die "the gateway that $1 starts still runs (process $other): stop it, then make install again"
    mv "$1" "$2"
    [ "$1" != "/etc/$SCRIPT" ] || update-rc.d oemgateway remove
    say "$1 was another gateway's: that one is stopped, and the file is now $2"
}

# Install the unit or the init.d script; below DESTDIR both, as it is not known what will be PID 1.
place_service() {
    if [ -n "$ROOT" ]; then
        install -D -m 0644 "$UNIT" "$ROOT/$UNIT"
        install -D -m 0755 "$SCRIPT" "$ROOT/etc/$SCRIPT"
        return
    fi
    set_aside "/etc/$SCRIPT" /etc/oemgateway.init.old
    set_aside "/$UNIT" /etc/oemgateway.service.old
    if has_systemd; then
        ! cmp -s "$UNIT" "/$UNIT" || return 0
        HAS_CHANGED=yes
        install -D -m 0644 "$UNIT" "/$UNIT"
        systemctl daemon-reload
    # A removed package leaves it behind without permission to run.
    elif [ ! -x "/etc/$SCRIPT" ] || ! cmp -s "$SCRIPT" "/etc/$SCRIPT"; then
        HAS_CHANGED=yes
        install -D -m 0755 "$SCRIPT" "/etc/$SCRIPT"
    fi
}

enable_service() {
    if has_systemd; then systemctl --quiet enable oemgateway; else update-rc.d oemgateway defaults; fi
}

forget_service() {
    has_service || return 0
    service oemgateway stop || say "it could not be stopped; what is left of it: ps -u oemgateway"
    if has_systemd; then
        systemctl --quiet disable oemgateway || :
        rm -f "/$UNIT"
        systemctl daemon-reload
    else
        rm -f "/etc/$SCRIPT"
        update-rc.d oemgateway remove
    fi
    remove /run/oemgateway
}

# Print which file the service reads. The file of defaults may be written for init.d or for systemd.
config_of_service() {
    named=$(sed -En "s/^\s*CONFIG=[\"']?([^\"'#]*[^\"'#[:space:]]).*/\1/p" /etc/default/oemgateway | tail -n 1)
    echo "${named:-$CONFIG}"
}

# Start the service, or restart it with what is installed now. With a faulty file what runs goes on.
start_service() {
    read_by_it=$(config_of_service)
    if faults=$(runuser -u oemgateway -- "$COMMAND" check "$read_by_it" 2>&1); then
        service oemgateway restart
    elif cmp -s etc/oemgateway.conf "$read_by_it"; then
        [ "$read_by_it" = "$CONFIG" ] || option=" --config-file $read_by_it"
        say "next: sudo oemgateway${option:-} setup"
        say "or edit $read_by_it (three lines, marked <--), then: sudo service oemgateway start"
    else
        echo "$faults"
        say "correct $read_by_it, then: sudo service oemgateway restart"
    fi
}

do_install() {
    PYTHON=$("$PYTHON" -c 'import sys; print(sys.executable)')
    if [ -z "$ROOT" ]; then
        need_root
        runuser -u nobody -- "$PYTHON" -c '' 2>/dev/null \
            || die "only root may run $PYTHON: sudo make install PYTHON=/usr/bin/python3"
        need_name
        make_user
        # Look before anything is replaced: what runs now is the old version.
        IS_NEW=$({ has_service && [ -e "$LAST" ]; } || echo yes)
        RAN=$(! is_running || echo yes)
    fi
    place_configuration
    for file in $SETTINGS; do place "$file"; done
    stage
    HAS_CHANGED=
    if ! is_up_to_date; then
        install_program
        HAS_CHANGED=yes
    fi
    place_service
    if [ -n "$ROOT" ]; then
        say "installed below $ROOT; to do there: a user oemgateway that may read $CONFIG, and the service"
        return
    fi
    [ -d "$STATE" ] || install -d -o oemgateway -g oemgateway -m 0750 "$STATE"
    [ -d "$LOGS" ] || install -d -o oemgateway -g adm -m 2750 "$LOGS"
    if [ -n "$HAS_CHANGED" ]; then
        say "$("$COMMAND" --version | cut -d ' ' -f 2) is installed"
    else
        say "nothing to do: it is installed as it is here"
    fi
    if [ -n "$IS_NEW" ]; then
        enable_service
        start_service
    elif [ -n "$RAN" ] && [ -n "$HAS_CHANGED" ]; then
        start_service
    fi
}

do_uninstall() {
    if [ -z "$ROOT" ]; then
        need_root
        forget_service
    else
        rm -f "$ROOT/$UNIT" "$ROOT/etc/$SCRIPT"
    fi
    # Unless it was edited: it would take the place of the one in a package that is installed later.
    ! cmp -s "$LAST/etc/$RULE" "$ROOT/etc/$RULE" || rm -f "$ROOT/etc/$RULE"
    remove "$PROGRAM" "$NEW"
    [ ! -L "$ROOT$PREFIX" ] || rm "$ROOT$PREFIX"
    rm -f "$LINK" "$COMPLETIONS/oemgateway"
    rm -f "$MAN/man1/oemgateway.1" "$MAN/man5/oemgateway.conf.5"
    rmdir --ignore-fail-on-non-empty "$MAN/man1" "$MAN/man5" "$COMPLETIONS" "$(dirname "$COMPLETIONS")" 2>/dev/null || :
}

do_purge() {
    do_uninstall
    # A gateway may have been started by hand, and a user with processes cannot be removed. Another user's processes
    # are none of ours, but for the service.
    if [ -z "$ROOT" ] && has_user; then
        set -- --user oemgateway
        has_own_user || set -- "$@" --pidfile /run/oemgateway.pid
        start-stop-daemon --stop --quiet --oknodo "$@" --retry=TERM/10/KILL/5 || :
    fi
    remove "$ROOT$CONFIG" "$ROOT$CONFIG.new" "$ROOT$STATE" "$ROOT$LOGS"
    for file in $SETTINGS; do remove "$ROOT/etc/$file"; done
    [ -z "$ROOT" ] || return 0
    if has_own_user; then
        userdel oemgateway 2>/dev/null || say "the user oemgateway stays: something runs as it (ps -u oemgateway)"
    elif has_user; then
        say "the user oemgateway stays: it was there before"
    fi
    # userdel leaves a group that has other members.
    has_user || ! getent group oemgateway | grep -Eq ':[0-9]{1,3}:' || groupdel oemgateway || say "the group oemgateway stays"
}

case $ACTION in
    fetch)
        shift
        fetch "run make again" "$@"
        ;;
    install)
        do_install
        ;;
    uninstall)
        do_uninstall
        kept=
        for file in $SETTINGS; do [ ! -e "$ROOT/etc/$file" ] || kept="$kept $file"; done
        say "removed; kept are $CONFIG, $STATE, $LOGS, their user, and in /etc:$kept"
        say "sudo make purge removes these too"
        ;;
    purge)
        do_purge
        say "removed, with its configuration, its readings and its log"
        ;;
    *)
        echo "Usage: $0 {install|uninstall|purge}" >&2
        exit 2
        ;;
esac
