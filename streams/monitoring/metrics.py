"""Every metric of the workers in one list: its name, its meaning, and the worker that has it.

docs/monitoring.md shows the list to people; the alert rules and the dashboard in deploy/monitoring may use no other
metric. Tests compare all three with it. Counters count work done, and repeated work counts again: after a crash some
statements are forwarded, or messages folded, twice, which changes no view.
"""

from __future__ import annotations

from schemas.metrics import Kind, Metric

__all__ = ["METRICS", "PROCESS_METRICS", "Kind", "Metric"]


_INTAKE, _VIEW = ("intake",), ("view",)
_BOTH = ("intake", "view")

_WORK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_MESSAGES = (1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0)
_VISIBLE_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0)

READY = Metric("xinliu_ready", Kind.GAUGE, "0 or 1", (), _BOTH, "1 while /ready answers 200")
SERVER_ANSWERS = Metric(
    "xinliu_server_answers", Kind.GAUGE, "0 or 1", ("server",), _BOTH,
    "1 where the server (kafka, registry, postgres) answered this worker when it was last asked",
)  # fmt: skip
SERVER_ASKED = Metric(
    "xinliu_server_asked_timestamp_seconds", Kind.GAUGE, "unix time", ("server",), _BOTH,
    "When the question was asked that the server last answered; lag, sources and quarantine are of then",
)  # fmt: skip
UNREAD = Metric(
    "xinliu_partition_unread_seconds", Kind.GAUGE, "seconds", ("topic", "partition"), _BOTH,
    "For how long a partition of what the worker subscribes to has been read by no worker of its group; no series where somebody reads it",
)  # fmt: skip
RETRIES = Metric(
    "xinliu_retries_total", Kind.COUNTER, "tries", ("server",), _BOTH,
    "Tries that failed because a server did not answer or asked to try again; each is made again, nothing is lost",
)  # fmt: skip

ACCEPTED = Metric(
    "xinliu_intake_accepted_total", Kind.COUNTER, "statements", ("department",), _INTAKE,
    "Statements forwarded to accepted, flagged ones among them",
)  # fmt: skip
REFUSED = Metric(
    "xinliu_intake_refused_total", Kind.COUNTER, "messages", ("department",), _INTAKE,
    "Messages refused and written to quarantine",
)  # fmt: skip
FINDINGS = Metric(
    "xinliu_intake_findings_total", Kind.COUNTER, "messages", ("department", "code", "outcome"), _INTAKE,
    "Messages with this finding, by what became of the message (refused, flagged); one with two codes counts in both",
)  # fmt: skip
INTAKE_LAG = Metric(
    "xinliu_intake_lag_messages", Kind.GAUGE, "messages", ("department", "partition"), _INTAKE,
    "Messages of the department's topic that are not forwarded yet; only the partitions assigned to this worker",
)  # fmt: skip
INTAKE_SECONDS = Metric(
    "xinliu_intake_batch_seconds", Kind.HISTOGRAM, "seconds", (), _INTAKE,
    "Time to examine a batch and to have all of it confirmed by Kafka; waiting and tries that failed are not in it", _WORK_SECONDS,
)  # fmt: skip
INTAKE_MESSAGES = Metric(
    "xinliu_intake_batch_messages", Kind.HISTOGRAM, "messages", (), _INTAKE, "Messages of a batch", _MESSAGES,
)  # fmt: skip
SCHEMAS_DIFFERING = Metric(
    "xinliu_schemas_differing", Kind.GAUGE, "ids", (), _INTAKE,
    "Schema ids that mean something else in the registry than when intake first saw them; messages with them are refused",
)  # fmt: skip

STATEMENTS = Metric(
    "xinliu_view_statements_total", Kind.COUNTER, "statements", ("department",), _VIEW,
    "Statements folded into the view, committed; the few that the store refused among them",
)  # fmt: skip
TOLD = Metric(
    "xinliu_view_findings_total", Kind.COUNTER, "findings", ("department", "code", "outcome"), _VIEW,
    "Findings on folded statements that the department is told (refused by the store, older, flagged), intake's flags"
    " among them",
)  # fmt: skip
VISIBLE_SECONDS = Metric(
    "xinliu_view_visible_seconds", Kind.HISTOGRAM, "seconds", ("department",), _VIEW,
    "Event time to visible: from the broker's receipt of the department's message to the commit that shows it, by the"
    " clocks of broker and worker; a view that is built anew shows the age of what it reads", _VISIBLE_SECONDS,
)  # fmt: skip
TRANSACTION_SECONDS = Metric(
    "xinliu_view_transaction_seconds", Kind.HISTOGRAM, "seconds", (), _VIEW,
    "Time to decode a batch and to fold it in a PostgreSQL transaction; waiting and tries that failed are not in it", _WORK_SECONDS,
)  # fmt: skip
TRANSACTION_ROWS = Metric(
    "xinliu_view_transaction_rows", Kind.HISTOGRAM, "messages", (), _VIEW,
    "Messages folded by a transaction: statements, refusals and intake's progress vectors", _MESSAGES,
)  # fmt: skip
REREADS = Metric(
    "xinliu_view_rereads_total", Kind.COUNTER, "times", (), _VIEW,
    "Times that partitions were read again from the position in PostgreSQL",
)  # fmt: skip
VIEW_LAG = Metric(
    "xinliu_view_lag_messages", Kind.GAUGE, "messages", ("topic", "partition"), _VIEW,
    "Messages of accepted and quarantine beyond the position in PostgreSQL, for all partitions",
)  # fmt: skip
POSITION = Metric(
    "xinliu_view_position", Kind.GAUGE, "offset", ("topic", "partition"), _VIEW,
    "The position in PostgreSQL: the next offset to fold",
)  # fmt: skip
RECORDS = Metric(
    "xinliu_view_records", Kind.GAUGE, "records", (), _VIEW, "Records held, as PostgreSQL's statistics estimate them",
)  # fmt: skip
QUARANTINE_OPEN = Metric(
    "xinliu_quarantine_open", Kind.GAUGE, "entries", ("department",), _VIEW,
    "Open entries of the quarantine: each makes an entity 待核 or holds back the source's data as of",
)  # fmt: skip
SOURCE_AS_OF = Metric(
    "xinliu_source_as_of_timestamp_seconds", Kind.GAUGE, "unix time", ("department",), _VIEW,
    "Data as of (数据截至) of a source; no series where it has never vouched for anything",
)  # fmt: skip
SOURCE_SILENT = Metric(
    "xinliu_source_silent", Kind.GAUGE, "0 or 1", ("department",), _VIEW,
    "1 where readers are told 未归集: the source has vouched for nothing, or not for longer than its limit allows (中断)",
)  # fmt: skip
SOURCE_STATE = Metric(
    "xinliu_source_state", Kind.GAUGE, "0, 1 or 2", ("department",), _VIEW,
    "State of a source: 0 正常, 1 迟 (later than expected), 2 中断 (past its limit, or never heard)",
)  # fmt: skip
QUALITY = Metric(
    "xinliu_quality_month", Kind.GAUGE, "statements", ("department", "indicator"), _VIEW,
    "What a department is measured by, of this month in China (docs/quality.md): indicator accepted, refused, published,"
    " late, corrected, conflicts",
)  # fmt: skip
OUTBOX = Metric(
    "xinliu_outbox_rows", Kind.GAUGE, "rows", (), _VIEW, "Rows of the outbox that the relay has still to publish",
)  # fmt: skip
FOREIGN_LOCKS = Metric(
    "xinliu_foreign_locks", Kind.GAUGE, "locks", ("role",), _VIEW,
    "Advisory locks in the database that a role holds or awaits which is no worker's and not the owner's: any of them keeps workers"
    " from their work; no series where there is none",
)  # fmt: skip
LEADER_MISSING = Metric(
    "xinliu_leader_missing_seconds", Kind.GAUGE, "seconds", ("lock",), _VIEW,
    "For how long no worker has had the lock of the one that relays, audits or folds cases; 0 where one has, or where this worker's"
    " generation does not serve",
)  # fmt: skip
READERS_ENDED = Metric(
    "xinliu_readers_ended_total", Kind.COUNTER, "sessions", ("limit",), _VIEW,
    "Sessions of readers that were ended because they had lifted the limit of this name and gone beyond it",
)  # fmt: skip
LIMITS_LACKING = Metric(
    "xinliu_limits_lacking", Kind.GAUGE, "differences", ("role",), _VIEW,
    "Differences between what bounds a role of the database and what is declared; `xinliu access plan` names them; no series where"
    " there is none",
)  # fmt: skip
RELAYED = Metric(
    "xinliu_relay_messages_total", Kind.COUNTER, "messages", ("kind",), _VIEW,
    "Messages that the relay has published: kind receipt, change or tombstone",
)  # fmt: skip
EXCHANGE_LAG_RECORDS = Metric(
    "xinliu_exchange_lag_records", Kind.GAUGE, "messages", ("origin", "province"), _VIEW,
    "Messages that origin has published and province does not say that it has applied; no series where it is not known",
)  # fmt: skip
EXCHANGE_LAG_SECONDS = Metric(
    "xinliu_exchange_lag_seconds", Kind.GAUGE, "seconds", ("origin", "province"), _VIEW,
    "From the checkpoint that province says it has applied to the last one that origin has published, by origin's clock",
)  # fmt: skip
EXCHANGE_DIFFERING = Metric(
    "xinliu_exchange_differing_domains", Kind.GAUGE, "domains", ("origin", "province"), _VIEW,
    "Domains in which province says that it holds another set than origin shared",
)  # fmt: skip
EXCHANGE_HEARD = Metric(
    "xinliu_exchange_heard_timestamp_seconds", Kind.GAUGE, "unix time", ("province",), _VIEW,
    "When the last status of a province, our own among them, was received that was believed",
)  # fmt: skip
EXCHANGE_SILENT = Metric(
    "xinliu_exchange_silent", Kind.GAUGE, "0 or 1", ("province",), _VIEW,
    "1 where a province has not been heard for longer than its limit, or its checkpoints do not go on: nothing is known of it",
)  # fmt: skip
EXCHANGE_OWED = Metric(
    "xinliu_exchange_duties", Kind.GAUGE, "statements", ("province", "state"), _VIEW,
    "Repairs, revocations and withdrawals of ours that a province has not acknowledged: state open, or overdue",
)  # fmt: skip
STATUS_TOLD = Metric(
    "xinliu_exchange_status_told_total", Kind.COUNTER, "statuses", ("province",), _VIEW,
    "Statuses that this province has told the others",
)  # fmt: skip
STATUS_REFUSED = Metric(
    "xinliu_exchange_status_refused_total", Kind.COUNTER, "statuses", ("province", "code"), _VIEW,
    "Statuses on a province's topic that were not believed: code DAMAGED, SPEAKER, SIGNATURE, CONTENT, AHEAD or OLDER (docs/exchange.md)",
)  # fmt: skip

EXCHANGE_ACCEPTED = Metric(
    "xinliu_exchange_accepted_total", Kind.COUNTER, "messages", ("province",), _INTAKE,
    "Messages of another province's verified runs, forwarded to accepted; checkpoints among them",
)  # fmt: skip
EXCHANGE_REFUSED = Metric(
    "xinliu_exchange_refused_total", Kind.COUNTER, "messages", ("province",), _INTAKE,
    "Messages of another province's verified runs that it may not say, written to quarantine",
)  # fmt: skip
EXCHANGE_CHECKPOINTS = Metric(
    "xinliu_exchange_checkpoints_total", Kind.COUNTER, "checkpoints", ("province", "outcome"), _INTAKE,
    "Checkpoints of another province by what came of them: followed, repeated; gap, broken, stale and not_believed alarm",
)  # fmt: skip
EXCHANGE_WAITING = Metric(
    "xinliu_exchange_waiting_rows", Kind.GAUGE, "rows", (), _VIEW,
    "Rows of the outbox that the other provinces have still to be told, each of up to 500 statements",
)  # fmt: skip
EXCHANGE_TOLD = Metric(
    "xinliu_exchange_published_total", Kind.COUNTER, "messages", ("kind",), _VIEW,
    "Messages published on exchange.<own>: kind statement (withdrawals among them), beside (what goes along) or checkpoint",
)  # fmt: skip
EXCHANGE_CHECKPOINT = Metric(
    "xinliu_exchange_checkpoint_timestamp_seconds", Kind.GAUGE, "unix time", ("partition",), _VIEW,
    "When the last checkpoint of the partition was made, at the worker that publishes; there is a new one every 5 s",
)  # fmt: skip
AUDIT_DIFFERENCES = Metric(
    "xinliu_audit_differences_total", Kind.COUNTER, "rows", ("relation", "difference"), _VIEW,
    "Rows that the audit found not to be what they follow from (docs/exchange.md): in relation, missing, extra or changed",
)  # fmt: skip
AUDIT_MENDED = Metric(
    "xinliu_audit_mended_total", Kind.COUNTER, "rows", ("how",), _VIEW,
    "Rows that were mended: from history, from the log, or counted anew from rows",
)  # fmt: skip
AUDIT_BEYOND = Metric(
    "xinliu_audit_beyond_mending", Kind.GAUGE, "records", (), _VIEW,
    "Records of the last pass that neither history nor the log could set right",
)  # fmt: skip
AUDIT_UNFOUNDED = Metric(
    "xinliu_audit_unfounded_tombstones", Kind.GAUGE, "records", (), _VIEW,
    "Records of which a tombstone took a statement out of accepted that no revocation erases; the tables keep it",
)  # fmt: skip
AUDIT_PASSED = Metric(
    "xinliu_audit_passed_timestamp_seconds", Kind.GAUGE, "unix time", (), _VIEW,
    "When the audit had last looked at everything; no series where this worker does not audit",
)  # fmt: skip
DEFINITIONS_DIFFER = Metric(
    "xinliu_definitions_differ", Kind.GAUGE, "objects", ("part",), _VIEW,
    "What is not as it was shipped or declared, when last looked at: part definitions (tables, views, functions,"
    " triggers), rights, or catalogue (rows that this worker filled from it)",
)  # fmt: skip
LOG_FIRST_OFFSET = Metric(
    "xinliu_log_first_offset", Kind.GAUGE, "offset", ("topic", "partition"), _VIEW,
    "First offset that a log still holds: accepted, operations and cases keep everything, and must begin at 0",
)  # fmt: skip
LOG_LOST = Metric(
    "xinliu_log_lost", Kind.GAUGE, "0 or 1", ("topic", "partition"), _VIEW,
    "1 where a log has lost messages that it should still hold, while this worker looked (quarantine) or ever (the others)",
)  # fmt: skip

OPERATIONS_AUDITED = Metric(
    "xinliu_operations_audited_timestamp_seconds", Kind.GAUGE, "unix time", (), _VIEW,
    "When the audit (docs/audit.md) had last taken over every event of operations, or began to try; no series where another worker does it",
)  # fmt: skip
OPERATIONS_FINDINGS = Metric(
    "xinliu_operations_findings", Kind.GAUGE, "findings", ("what",), _VIEW,
    "What `xinliu audit verify` found, which the worker that audits does every hour: by kind; UNAPPROVED is done without a second person, NOT_BELIEVED are events whose author may not say that",
)  # fmt: skip
OPERATIONS_VERIFIED = Metric(
    "xinliu_operations_verified_timestamp_seconds", Kind.GAUGE, "unix time", (), _VIEW,
    "When the audit was last held against its topics and against approvals, or began to be; no series where another worker does it",
)  # fmt: skip

EXCHANGE_DIFFERENCES = Metric(
    "xinliu_exchange_differences_open", Kind.GAUGE, "records", ("province", "difference"), _VIEW,
    "Records in which a set of another province differs from what it shares: missing, extra, older, newer, content",
)  # fmt: skip
EXCHANGE_UNHEALED = Metric(
    "xinliu_exchange_unhealed_sets", Kind.GAUGE, "sets", (), _VIEW,
    "Sets of other provinces that still differ although they were asked for five times",
)  # fmt: skip

REGISTRATIONS_CONTESTED = Metric(
    "xinliu_registrations_contested", Kind.GAUGE, "entities", (), _VIEW,
    "Entities that another province says are registered there while they stand open elsewhere",
)  # fmt: skip

METRICS = (
    READY, SERVER_ANSWERS, SERVER_ASKED, UNREAD, RETRIES,
    ACCEPTED, REFUSED, FINDINGS, INTAKE_LAG, INTAKE_SECONDS, INTAKE_MESSAGES, SCHEMAS_DIFFERING,
    STATEMENTS, TOLD, VISIBLE_SECONDS, TRANSACTION_SECONDS, TRANSACTION_ROWS, REREADS, VIEW_LAG, POSITION, RECORDS,
    QUARANTINE_OPEN, SOURCE_AS_OF, SOURCE_SILENT, SOURCE_STATE, QUALITY, OUTBOX,
    FOREIGN_LOCKS, LEADER_MISSING, READERS_ENDED, LIMITS_LACKING, RELAYED,
    EXCHANGE_ACCEPTED, EXCHANGE_REFUSED, EXCHANGE_CHECKPOINTS,
    EXCHANGE_WAITING, EXCHANGE_TOLD, EXCHANGE_CHECKPOINT,
    EXCHANGE_LAG_RECORDS, EXCHANGE_LAG_SECONDS, EXCHANGE_DIFFERING, EXCHANGE_HEARD, EXCHANGE_SILENT, EXCHANGE_OWED,
    STATUS_TOLD, STATUS_REFUSED,
    AUDIT_DIFFERENCES, AUDIT_MENDED, AUDIT_BEYOND, AUDIT_UNFOUNDED, AUDIT_PASSED, EXCHANGE_DIFFERENCES, EXCHANGE_UNHEALED,
    OPERATIONS_AUDITED, OPERATIONS_FINDINGS, OPERATIONS_VERIFIED, REGISTRATIONS_CONTESTED,
    DEFINITIONS_DIFFER, LOG_FIRST_OFFSET, LOG_LOST,
)  # fmt: skip
"""All metrics of ours."""

PROCESS_METRICS = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""Metrics of the Prometheus library for every process, on Linux; without labels."""
