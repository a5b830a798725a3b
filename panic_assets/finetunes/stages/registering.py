"""A fine-tune and its suite enter the lake."""

import hashlib
import json
from datetime import UTC, datetime

from panic_assets.errors import UserError
from panic_assets.finetunes.config import FAMILY, FineTune
from panic_assets.finetunes.drawing.suites import Suite
from panic_assets.lake.lake import Lake
from panic_assets.training import runs


def register(lake: Lake, tune: FineTune) -> bool:
    """Register a fine-tune and its suite; True when it is new.

    A run that the checkpoint sensor met first, without a configuration, is given this one.
    """
    check_suite(lake, tune.suite)
    row = runs.find(lake, tune.name)
    if row is not None and row["family"] == FAMILY.name and set(json.loads(row["config"])) <= {"url", "pattern"}:
        text = json.dumps(tune.stored, sort_keys=True, ensure_ascii=False)
        runs.change(
            lake,
            tune.name,
            config=text,
            config_hash=hashlib.sha256(text.encode()).hexdigest(),
            folder=tune.folder,
            planned_epochs=tune.epochs,
            card=tune.card,
            budget=tune.budget,
        )
        new = True
    else:
        new = runs.register(
            lake,
            runs.NewRun(
                name=tune.name,
                family=FAMILY.name,
                config=tune.stored,
                folder=tune.folder,
                parent=tune.parent,
                status="watched",
                planned_epochs=tune.epochs,
                card=tune.card,
                budget=tune.budget,
            ),
        )
    store_suite(lake, tune.name, tune.suite)
    return new


def check_suite(lake: Lake, suite: Suite) -> None:
    """Refuses a suite whose content changed under a name and version that are known."""
    known = lake.sql(
        "SELECT DISTINCT suite_hash FROM prompt_suites WHERE suite = ? AND version = ?", [suite.name, suite.version]
    )["suite_hash"].to_pylist()
    if known and suite.hash not in known:
        raise UserError(
            f"suite {suite.name!r} version {suite.version} is already registered with other content; "
            f"a changed suite needs a new version, like {suite.version + 1}"
        )


def store_suite(lake: Lake, name: str, suite: Suite) -> bool:
    """Make a suite version the run's active one; True when the run did not have it. Older versions keep their rows."""
    check_suite(lake, suite)
    with lake.lease(f"suites of {name}", wait_seconds=30):
        old = lake.sql("SELECT * FROM prompt_suites", training_run=name).to_pylist()
        known = next((r for r in old if r["suite_hash"] == suite.hash), None)
        row = known or {
            "training_run": name,
            "suite": suite.name,
            "version": suite.version,
            "suite_hash": suite.hash,
            "prompts": len(suite.prompts),
            "cells": sum(len(p.seeds) for p in suite.prompts),
            "definition": suite.json,
            "registered_at": datetime.now(UTC),
        }
        others = [{**r, "active": False} for r in old if r["suite_hash"] != suite.hash]
        lake.replace("prompt_suites", [*others, {**row, "active": True}], training_run=name)
    return known is None
