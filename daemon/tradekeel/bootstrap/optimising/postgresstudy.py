"""Optuna's tables on PostgreSQL, with what is missing to the promise that nothing is written into a trial that is over.

Optuna looks whether a trial is still running and then writes into it, in one transaction; another process may end the trial
between the two. What is said of it then stands in a trial whose end was somebody else's: who has read it before believes that it
was lost and has it run again, who reads it behind that believes that it failed, and it counts twice. So the trial's row is locked
before the look, as Optuna itself does where it ends one. (A file has one writer at a time, and a log has one order.)
"""

from __future__ import annotations

from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel


class PostgresStudies(RDBStorage):
    """See the module."""

    def __init__(self, *args: Any, **how: Any) -> None:
        """As Optuna's own; where it comes to nothing, no connection is left."""
        try:
            super().__init__(*args, **how)
        except BaseException:
            engine = getattr(self, "engine", None)
            if engine is not None:
                engine.dispose()
            raise

    def _set_trial_attr_without_commit(self, session: Any, model_cls: Any, trial_id: int, key: str, value: Any) -> None:
        TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        super()._set_trial_attr_without_commit(session, model_cls, trial_id, key, value)

    def _set_trial_param_without_commit(self, session: Any, trial_id: int, *more: Any) -> None:
        TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        super()._set_trial_param_without_commit(session, trial_id, *more)

    def _set_trial_intermediate_value_without_commit(self, session: Any, trial_id: int, *more: Any) -> None:
        TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        super()._set_trial_intermediate_value_without_commit(session, trial_id, *more)
