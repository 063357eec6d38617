"""Over a full run no secret of the panel is anywhere but with its operator."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import httpx

from ocap.verify import verify
from tests.commands import ocap, start_ocap
from tests.daemon.serving import VAT, toml


def test_secrets_of_a_full_run_are_in_no_file_argument_environment_or_word(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "vat.py").write_text(VAT)
    (tmp_path / "c.toml").write_text(toml())
    db, secrets, seen = tmp_path / "k.db", set(), {}
    log = tmp_path / "log.jsonl"
    started = ocap("start", tmp_path / "c.toml", "--db", db, "--log-json", log, "--metrics", "0", "--panel")
    assert 0 == started.returncode, started.stderr
    own = re.search(r"http://127\.0\.0\.1:\d+/#([\w-]{43})", started.stdout + started.stderr)
    assert own
    secrets.add(own[1])
    status = json.loads(ocap("status", "--json", "--db", db).stdout)
    panel = start_ocap("panel", "--db", db, "--port", "0")
    assert panel.stdout is not None
    try:
        link = panel.stdout.readline().strip()
        # Whichever panel that is: the daemon's own, or one beside it.
        base, _, code = link.partition("/#")
        secrets.add(code)
        with httpx.Client(base_url=base, timeout=30) as client:
            origin = {"origin": base}
            for wrong in (code[:-1], code + "x", f"{code} {code}"):
                assert 401 == client.post("/login", json={"code": wrong}, headers=origin).status_code
            assert 200 == client.post("/login", json={"code": code}, headers=origin).status_code
            secrets.update(client.cookies.values())
            found = re.search('name="token" content="([^"]+)"', client.get("/").text)
            assert found
            secrets.add(found[1])
            good = origin | {"x-ocap-token": found[1]}
            for action, fields in [
                ("send", {"target": "a", "method": "fail", "args": "[]"}),
                ("send", {"target": "a", "method": "note", "args": '["x"]'}),
                ("launch", {"text": "nonsense"}),
                ("restart", {"what": "c"}),
                ("nope", {}),
            ]:
                client.post(f"/do/{action}", json=fields, headers=good)
            client.post("/do/send", content=b"[" * 5000, headers=good | {"content-type": "application/json"})
            client.get(f"/?{code}")
            processes = {status["pid"], panel.pid, *children(status["pid"])}
            for pid in processes:
                for name in ("cmdline", "environ"):
                    seen[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            client.post("/logout", json={}, headers=good)
    finally:
        panel.terminate()
        out, error = panel.communicate(timeout=20)
        ocap("stop", "--db", db)
    secrets.update(re.findall(r"/#([\w-]{43})", out))
    seen["standard error of the panel"] = error.encode()
    seen["what is said beside links"] = re.sub(r"/#[\w-]{43}", "", out).encode()
    for path in [*tmp_path.rglob("*"), *runtime.rglob("*")]:
        if stat.S_ISREG(path.lstat().st_mode):
            seen[str(path)] = path.read_bytes()
    assert {"k.db", "k.db.log", "log.jsonl"} <= {Path(name).name for name in seen}
    assert len(secrets) >= 4
    assert [] == [name for name, text in seen.items() for secret in secrets if secret.encode() in text]
    assert b"Traceback" not in seen["standard error of the panel"]
    assert verify(db) == []


def children(pid: int) -> list[int]:
    return [int(it) for task in Path(f"/proc/{pid}/task").iterdir() for it in (task / "children").read_text().split()]
