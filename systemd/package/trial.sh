#!/bin/bash
# Tries the .deb, and the scripts of the .rpm, in a Debian 12 with a real systemd and without a network: trial.sh ROOT PACKAGES.
# ROOT is made by debootstrap if it is missing; PACKAGES is out/package, with next.rpm, the .rpm of a later version. Needs root, systemd-container and debootstrap. Each step prints one line, "ok" or
# "FAILED", and the last line counts them.
set -uo pipefail
root=$1 packages=$2 name=ichor-trial
passed=0 failed=0

ok() { passed=$((passed + 1)); echo "ok      $1"; }
bad() { failed=$((failed + 1)); echo "FAILED  $1"; }
# check WORDS COMMAND...: the command succeeds.
check() { local what=$1; shift; if "$@" >"$root.out" 2>&1; then ok "$what"; else bad "$what"; tail -5 "$root.out" | sed 's/^/        /'; fi; }
# inside COMMAND...: runs in the container.
inside() { nsenter --target "$leader" --mount --uts --ipc --net --pid -- /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
bash_inside() { inside bash -c "$1"; }
# until_true SECONDS COMMAND
until_true() { local end=$((SECONDS + $1)); until bash_inside "$2" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 1; done; }

boot() {
	unshare --mount bash -c 'mount -t tmpfs tmpfs /run; mkdir -p /run/systemd; exec systemd-nspawn --quiet --directory="$1" --boot --register=no --keep-unit --private-network --machine="$2"' -- "$root" "$name" </dev/null >"$root.console" 2>&1 &
	nspawn=$!
	leader=
	for _ in $(seq 120); do
		for pid in $(pgrep --full 'systemd-nspawn .*'"$name"); do
			child=$(pgrep --parent "$pid" --exact systemd || true)
			[ -z "$child" ] || leader=$child
		done
		[ -z "$leader" ] || ! inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' || return 0
		sleep 1
	done
	echo "the container does not boot:"; tail "$root.console"; exit 1
}
trap '[ -z "${leader:-}" ] || kill -s RTMIN+4 "$leader" 2>/dev/null; wait "${nspawn:-}" 2>/dev/null' EXIT

[ -d "$root" ] || debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,procps,openssl,rpm bookworm "$root" >"$root.log" 2>&1
mkdir -p "$root/packages" && cp "$packages"/* "$root/packages/" 2>/dev/null
deb=/packages/$(basename "$packages"/ichor_*.deb)
# The same files as a later version, for upgrade and downgrade.
dpkg-deb --raw-extract "$root$deb" "$root.next" && sed -i 's/^Version: .*/&.1/' "$root.next/DEBIAN/control" &&
	dpkg-deb -Zgzip --build "$root.next" "$root/packages/next.deb" >/dev/null && rm -r "$root.next" || exit 1
boot

check "digests" bash_inside 'cd /packages && sha256sum --check --ignore-missing SHA256SUMS'
check "apt install" bash_inside "apt-get install -y --no-install-recommends $deb"
check "service is active" until_true 60 'systemctl is-active ichor'
check "ready" until_true 60 'ichor status'
check "ichor check finds nothing that failed" bash_inside 'ichor check | tee /dev/stderr | grep -q "^ok  *models" && ! ichor check | grep FAILED'
check "token is private" bash_inside '[ "$(stat -c %U:%G:%a /etc/ichor/http.token)" = root:ichor:640 ] && [ "$(wc -c </etc/ichor/http.token)" = 48 ]'
check "it listens on loopback only" bash_inside '! grep -E "^ *[0-9]+: (00000000|00000000000000000000000000000000):[^ ]* 0+:0000 0A" /proc/net/tcp /proc/net/tcp6'
check "the service is not root" bash_inside 'ps -o user= -p "$(systemctl show -P MainPID ichor)" | grep -q ichor'
check "status line" until_true 20 "systemctl show -P StatusText ichor | grep associations"
check "exposure at most 1.2" bash_inside 'systemd-analyze security --threshold=12 ichor.service'
check "man page and completion" bash_inside 'test -s /usr/share/man/man1/ichor.1.gz -a -s /usr/share/man/man5/ichor.yaml.5.gz -a -s /usr/share/bash-completion/completions/ichor'
check "a study is analysed" bash_inside 'cd /tmp && ichor sample --out study >/dev/null && ichor send 127.0.0.1:11112 study'
check "with the system calls that the unit allows" until_true 180 'ichor status | grep -q analyzed'
check "no error in the journal" bash_inside '! journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ichor) | grep -E "level=(ERROR|WARN)|affinity"'

check "crash is restarted" bash_inside 'kill -SEGV "$(systemctl show -P MainPID ichor)"'
check "after the crash" until_true 90 '[ "$(systemctl show -P NRestarts ichor)" -ge 1 ] && systemctl is-active ichor'
check "no core file" bash_inside '! find / -xdev \( -name core -o -name "core.[0-9]*" \) -type f | grep -v "^/proc" | grep .'
check "bad file: reload changes nothing" bash_inside 'cp -p /etc/ichor/ichor.yaml /tmp/good.yaml; echo "nonsense: 1" >>/etc/ichor/ichor.yaml; systemctl reload ichor'
check "and the status line says why" until_true 20 'systemctl show -P StatusText ichor | grep "not in use"'
check "bad file: restart ends with 78 and is not repeated" bash_inside 'systemctl restart ichor; sleep 8; [ "$(systemctl show -P ExecMainStatus ichor)" = 78 ] && [ "$(systemctl is-active ichor)" = failed ]'
check "good file again" bash_inside 'cp -p /tmp/good.yaml /etc/ichor/ichor.yaml; systemctl restart ichor'
check "new token by reload" bash_inside 'openssl rand -hex 24 | tee /etc/ichor/http.token >/dev/null; systemctl reload ichor; sleep 1; ichor status'
check "hang is ended by the watchdog" bash_inside 'mkdir -p /run/systemd/system/ichor.service.d; printf "[Service]\nWatchdogSec=4\n" >/run/systemd/system/ichor.service.d/t.conf; systemctl daemon-reload; systemctl restart ichor; before=$(systemctl show -P MainPID ichor); kill -STOP $before; sleep 25; [ "$(systemctl show -P MainPID ichor)" != $before ] && systemctl is-active ichor; rm -r /run/systemd/system/ichor.service.d; systemctl daemon-reload; systemctl restart ichor'

# A full queue: three studies and a destination that nobody serves. Studies of the self-test come and go, so it is off.
bash_inside 'printf "destinations:\n  - {name: dead, address: \"127.0.0.1:9\", ae_title: DEAD}\ncanary: {start: false, at: \"\"}\n" >>/etc/ichor/ichor.yaml; systemctl restart ichor'
until_true 60 'ichor status'
check "studies for the upgrade" bash_inside 'cd /tmp && for s in normal mixed thin; do ichor sample --out s-$s --study $s >/dev/null && ichor send 127.0.0.1:11112 s-$s || exit 1; done'
received() { bash_inside 'ichor spool list --json' 2>/dev/null | grep -o '"objects": [0-9]*' | sort | tr -d '\n'; }
before=$(received)
check "upgrade with studies waiting" bash_inside "apt-get install -y --no-install-recommends /packages/next.deb && systemctl is-active ichor && dpkg -s ichor | grep 'Version: .*[.]1'"
check "all are analysed after it" until_true 400 '[ "$(ichor status | grep -c analyzed)" -ge 4 ] && ! ichor status | grep -qE "queued|receiving"'
[ -n "$before" ] && [ "$before" = "$(received)" ] && ok "no object is lost: $(tr -cd '0-9 ' <<<"$before")" || bad "objects before $before, after $(received)"
check "results wait for the destination" bash_inside 'systemctl show -P StatusText ichor | grep -E "[1-9][0-9]* results to deliver"'
check "an edited configuration stays" bash_inside 'grep -q "name: dead" /etc/ichor/ichor.yaml'
check "backup" bash_inside 'mkdir -p /var/backups; rm -f /var/backups/ichor.tar; ichor backup /var/backups/ichor.tar'
check "restore on an empty folder" bash_inside 'systemctl stop ichor; rm -r /var/lib/ichor; systemd-tmpfiles --create ichor.conf; ichor restore /var/backups/ichor.tar && systemctl start ichor'
check "the restored node has the cases" until_true 90 '[ "$(ichor status | grep -c analyzed)" -ge 4 ]'
check "support bundle" bash_inside 'ichor support /tmp/support.tar.gz'

# Orders of install, remove, purge.
check "remove" bash_inside 'apt-get remove -y ichor && ! systemctl is-active ichor && test -s /var/lib/ichor/state.db -a -s /etc/ichor/ichor.yaml'
check "install again continues" bash_inside "apt-get install -y --no-install-recommends /packages/next.deb"
check "with its cases" until_true 90 '[ "$(ichor status | grep -c analyzed)" -ge 4 ]'
check "downgrade" bash_inside "apt-get install -y --no-install-recommends --allow-downgrades $deb && systemctl is-active ichor"
check "with its cases too" until_true 90 '[ "$(ichor status | grep -c analyzed)" -ge 4 ]'
check "purge" bash_inside 'apt-get purge -y ichor | tee /tmp/purge.txt; grep -q "purge removes received studies" /tmp/purge.txt'
check "nothing is left but what it named" bash_inside 'left=$(find / -xdev \( -path /proc -o -path /sys -o -path /packages -o -path /tmp -o -path /var/lib/dpkg -o -path /var/log -o -path /var/backups -o -path /run -o -path /var/lib/systemd -o -path /var/cache \) -prune -o -iname "*ichor*" -print); [ -z "$left" ] || { echo "$left"; false; }'
check "no unit is left" bash_inside '! systemctl list-unit-files | grep ichor'
check "purge again, remove again" bash_inside 'apt-get purge -y ichor; dpkg -P ichor 2>&1 | grep -q "not installed" || true'
check "install after purge" bash_inside "apt-get install -y --no-install-recommends $deb"
check "runs at once" until_true 60 'ichor status'
check "purge while it runs" bash_inside 'apt-get purge -y ichor; ! test -e /var/lib/ichor'

# The .rpm with the rpm of Debian: real scripts and a real systemd; only the names of its dependencies are those of Fedora.
rpm=/packages/$(basename "$packages"/ichor-[0-9]*.rpm)
check "rpm: install" bash_inside "rpm --install --nodeps $rpm"
check "rpm: runs at once" until_true 60 'systemctl is-active ichor && ichor status'
check "rpm: starts at boot" bash_inside 'systemctl is-enabled ichor'
check "rpm: token is private" bash_inside '[ "$(stat -c %U:%G:%a /etc/ichor/http.token)" = root:ichor:640 ] && [ "$(wc -c </etc/ichor/http.token)" = 48 ]'
bash_inside 'echo "# edited" >>/etc/ichor/ichor.yaml; systemctl show -P MainPID ichor >/tmp/before; cp /etc/ichor/http.token /tmp/token'
check "rpm: upgrade restarts it" bash_inside 'rpm --upgrade --nodeps /packages/next.rpm && [ "$(systemctl show -P MainPID ichor)" != "$(cat /tmp/before)" ]'
check "rpm: and it runs" until_true 60 'systemctl is-active ichor && systemctl is-enabled ichor && ichor status'
check "rpm: token and edited configuration stay" bash_inside 'grep -q "^# edited" /etc/ichor/ichor.yaml && cmp /etc/ichor/http.token /tmp/token'
check "rpm: downgrade" bash_inside "rpm --upgrade --oldpackage --nodeps $rpm"
check "rpm: and it runs again" until_true 60 'systemctl is-active ichor && ichor status'
check "rpm: remove stops it in order" bash_inside 'rpm --erase ichor && ! systemctl is-active ichor && ! systemctl is-enabled ichor && journalctl -u ichor | tail -5 | grep -q msg=stopped'
check "rpm: state, token and edited configuration are left" bash_inside 'test -s /var/lib/ichor/state.db -a -s /etc/ichor/http.token && grep -q "^# edited" /etc/ichor/ichor.yaml.rpmsave'
check "rpm: no other file is left" bash_inside 'left=$(find /usr /etc/systemd /lib/systemd -xdev -iname "*ichor*" -print); [ -z "$left" ] || { echo "$left"; false; }'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
