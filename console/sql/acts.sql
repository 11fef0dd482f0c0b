-- What was done in somebody's name, the latest first, up to an event of the log; of a key, whose it is.
WITH page AS
(
    SELECT time, stream_seq, event_index, event, subject, actor, outcome, details
    FROM changes
    WHERE actor != ''
        AND (stream_seq, event_index) < ({before_position:UInt64}, {before_index:UInt32})
        AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        AND ({actor:String} = '' OR actor = {actor:String})
        AND ({event:String} = '' OR event = {event:String})
        AND
        (
            {account:String} = '' OR subject = {account:String}
            OR subject IN
            (
                SELECT subject FROM changes
                WHERE event = 'key_issued' AND {account:String} != '' AND position(details, {account_hex:String}) > 0
            )
            OR (stream_seq, event_index) IN
            (
                SELECT stream_seq, event_index FROM changes
                WHERE event IN ('credit_moved', 'account_opened') AND {account:String} != ''
                    AND position(details, {account_hex:String}) > 0
            )
        )
    ORDER BY stream_seq DESC, event_index DESC
    LIMIT {limit:UInt32}
)
SELECT
    toUnixTimestamp64Milli(page.time) AS time_ms, page.stream_seq AS position, page.event_index AS event_index,
    page.event AS event, page.subject AS subject, page.actor AS actor, page.outcome AS outcome, page.details AS details,
    multiIf(startsWith(page.subject, 'acc_'), page.subject, issued.owner != '', concat('acc_', issued.owner), '')
        AS account_id
FROM page
LEFT JOIN
(
    SELECT subject, any(JSONExtractString(details, 'account_id')) AS owner
    FROM changes
    WHERE event = 'key_issued' AND subject IN (SELECT subject FROM page)
    GROUP BY subject
) AS issued ON issued.subject = page.subject
ORDER BY position DESC, event_index DESC
