"""When Dagster's automation asks for an asset by itself."""

import dagster as dg

_UPSTREAM_CHANGED = (
    dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() | dg.AutomationCondition.will_be_requested()
    )
    # Latched: one update asks once, also when it comes while this is being made, unless that fails.
    .since(
        dg.AutomationCondition.newly_requested()
        | dg.AutomationCondition.newly_updated()
        | dg.AutomationCondition.execution_failed().newly_true()
    )
)
_IDLE = ~dg.AutomationCondition.in_progress()
# A tick reads first what was made and then what is in progress: of what ends in between it knows neither. So what was
# in progress at the last tick still counts as busy at this one.
_BUSY = dg.AutomationCondition.in_progress().since(_IDLE & ~_IDLE.newly_true())
FOLLOW = (
    _UPSTREAM_CHANGED
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~_BUSY
).with_label("follows its upstream")
"""Made once whenever something upstream was made; a failure is not asked again until something changes."""
