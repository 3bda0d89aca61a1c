"""Dovecot on loopback, with a configuration and a folder of its own."""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

_NOBODY = 65_534
"""Who root has the mails belong to: Dovecot keeps none of root's."""
PROGRAM = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")


@contextmanager
def open_dovecot() -> Iterator[int]:
    """Yield the port; ada's password is swordfish."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        own, mail = pwd.getpwuid(os.getuid()), pwd.getpwuid(os.getuid() or _NOBODY)
        inside, outside = (own.pw_name, own.pw_name) if os.getuid() else ("dovecot", "dovenull")
        home = folder / "ada"
        home.mkdir()
        os.chown(home, mail.pw_uid, mail.pw_gid)
        (folder / "users").write_text(f"ada:{{PLAIN}}swordfish:{mail.pw_uid}:{mail.pw_gid}::{home}::\n")
        group = grp.getgrgid(pwd.getpwnam(inside).pw_gid).gr_name
        config = folder / "dovecot.conf"
        config.write_text(
            _CONFIG.format(folder=folder, port=port, inside=inside, group=group, outside=outside)
        )
        started = subprocess.Popen([PROGRAM, "-F", "-c", config], stderr=subprocess.PIPE, text=True)
        try:
            _await_port(started, port)
            yield port
        finally:
            started.terminate()
            started.wait(10)
            started.stderr.close()


def _await_port(started: subprocess.Popen, port: int) -> None:
    for _ in range(200):
        if started.poll() is not None:
            raise RuntimeError(started.stderr.read())
        with closing(socket.socket()) as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            started.wait(0.05)
    raise RuntimeError("Dovecot does not listen.")


_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {inside}
default_internal_group = {group}
default_login_user = {outside}
first_valid_uid = 1
mail_location = maildir:~/mails
mailbox_list_index = no
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
namespace inbox {{
  inbox = yes
  mailbox Entwürfe {{
    auto = create
    special_use = \\Drafts
  }}
}}
"""
