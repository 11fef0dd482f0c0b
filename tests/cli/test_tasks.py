"""`onysoft tasks`: what an operator sees when a customer asks where a video is."""

import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from tests.cli.conftest import FakeAdmin, Onysoft

TASK_ID = "vtask_" + "a" * 24
TASK = admin.Task(
    task_id=TASK_ID,
    model="veo3",
    status="failed",
    code="generation_expired",
    created_ms=1_795_000_000_000,
    charged="0.00",
    currency="TRY",
    callback="none",
)


def test_tasks_are_listed_by_account_and_status(onysoft: Onysoft, admin_server: FakeAdmin) -> None:
    admin_server.answers["ListTasks"] = admin.TaskList(tasks=[TASK])
    done = onysoft("tasks", "list", "--status", "failed", "--account", "acc_1", "--limit", "7", "--json")
    assert done.code == 0
    (shown,) = done.json["tasks"]
    assert (shown["task_id"], shown["code"], shown["ended"]) == (TASK_ID, "generation_expired", None)
    assert admin_server.asked == [("ListTasks", admin.ListTasksRequest(account_id="acc_1", status="failed", limit=7))]
    assert "generation_expired" in onysoft("tasks", "list").out


@pytest.mark.parametrize(("word", "method"), [("show", "ShowTask"), ("retry", "RetryTask")])
def test_a_task_is_shown_and_looked_at_again(onysoft: Onysoft, admin_server: FakeAdmin, word: str, method: str) -> None:
    admin_server.answers[method] = TASK
    done = onysoft("tasks", word, TASK_ID, "--json")
    assert (done.code, done.json["task_id"]) == (0, TASK_ID)
    assert admin_server.asked == [(method, admin.TaskRef(task_id=TASK_ID))]


def test_a_status_that_is_none_is_not_asked_for(onysoft: Onysoft, admin_server: FakeAdmin) -> None:
    assert onysoft("tasks", "list", "--status", "lost").code == 2
    assert admin_server.asked == []
