"""Captions are checked, and what was found is stored."""

from datetime import UTC, datetime
from pathlib import Path

from panic_assets.finetunes import missing
from panic_assets.finetunes.captions import files as caption_files
from panic_assets.finetunes.captions import rules as captions
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done


def check_captions(
    lake: Lake, caption_set: str, folder: Path, rules: captions.Rules, run: str | None = None, batch: str | None = None
) -> list[caption_files.Report]:
    """Check a folder and record what was found; captions that changed since are a new version of the set."""
    files = caption_files.load(folder)
    reports = caption_files.check(files, rules)
    digest = caption_files.set_hash(files)
    now = datetime.now(UTC)
    with lake.lease(f"captions {caption_set}", wait_seconds=30):
        old = lake.sql("SELECT * FROM captions", caption_set=caption_set).to_pylist()
        found = lake.sql("SELECT * FROM caption_findings", caption_set=caption_set).to_pylist()
        latest = max((r["version"] for r in old), default=0)
        known = {r["set_hash"] for r in old if r["version"] == latest}
        version = latest if digest in known else latest + 1
        common = {"caption_set": caption_set, "training_run": run, "version": version}
        if version != latest:
            new = [
                {
                    **common,
                    "set_hash": digest,
                    "file": f.path.name,
                    "content_hash": f.hash,
                    "text": f.text,
                    "batch": batch,
                    "recorded_at": now,
                }
                for f in files
            ]
            lake.replace("captions", [*old, *new], caption_set=caption_set)
        findings = [
            {
                **common,
                "file": told.file.path.name,
                "number": number,
                "line": f.line,
                "rule": f.rule,
                "message": f.message,
                "suggestion": f.suggestion,
                "repairable": f.repair is not None,
                "computed_at": now,
            }
            for told in reports
            for number, f in enumerate(told.findings, 1)
        ]
        kept = [r for r in found if r["version"] != version]
        lake.replace("caption_findings", [*kept, *findings], caption_set=caption_set)
    return reports


def check_run_captions(lake: Lake, name: str) -> Done:
    """Check the captions a run names; nothing where it names none."""
    found = missing.plan(lake, name)
    if not found.config.get("captions"):
        return Done()
    rules = captions.parse_rules(found.config.get("caption_rules"))
    reports = check_captions(lake, name, Path(found.config["captions"]), rules, run=name)
    return Done(sum(len(r.findings) for r in reports))
