-- What the ledger holds of an account (as partner or organisation, of those below too) or a key, the latest first.
SELECT toUnixTimestamp64Milli(time) AS time_ms, position, event_index, kind, what, amount_nano, currency
FROM
(
    SELECT time, stream_seq AS position, event_index, 'request_settled' AS kind, request_id AS what,
        -charge_nano AS amount_nano, currency
    FROM charges
    WHERE (account_id = {owner:String} OR parent_id = {owner:String} OR key_id = {owner:String}) AND stream_seq < {before:UInt64}
    ORDER BY stream_seq DESC LIMIT {limit:UInt32}
    UNION ALL
    SELECT time, stream_seq, event_index, 'request_released', concat(request_id, ' ', reason), 0, currency
    FROM releases
    WHERE (account_id = {owner:String} OR parent_id = {owner:String} OR key_id = {owner:String}) AND stream_seq < {before:UInt64}
    ORDER BY stream_seq DESC LIMIT {limit:UInt32}
    UNION ALL
    SELECT time, stream_seq, event_index, 'task_submitted', concat(request_id, ' ', provider_task_id), 0, currency
    FROM tasks
    WHERE (account_id = {owner:String} OR parent_id = {owner:String} OR key_id = {owner:String}) AND stream_seq < {before:UInt64}
    ORDER BY stream_seq DESC LIMIT {limit:UInt32}
    UNION ALL
    SELECT time, stream_seq, event_index, concat('credit_', toString(kind)), reference, amount_nano, currency
    FROM credits
    WHERE account_id = {owner:String} AND stream_seq < {before:UInt64}
    ORDER BY stream_seq DESC LIMIT {limit:UInt32}
    UNION ALL
    SELECT time, stream_seq, event_index, event, if(actor = '', outcome, concat(outcome, ', ', actor)), 0, ''
    FROM changes
    WHERE subject = {owner:String} AND NOT startsWith(event, 'credit_') AND stream_seq < {before:UInt64}
    ORDER BY stream_seq DESC LIMIT {limit:UInt32}
)
ORDER BY position DESC, event_index DESC
LIMIT {limit:UInt32}
