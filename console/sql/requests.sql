-- An account's calls before a moment, the latest first, each with what the ledger charged for it.
WITH page AS
(
    SELECT time, request_id, key_id, model, route, status, code, first_byte_us, duration_us, streamed
    FROM requests
    WHERE account_id = {account:String} AND route IN ('chat', 'generate')
        AND time < fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')
        AND ({model:String} = '' OR model = {model:String})
        AND ({key:String} = '' OR key_id = {key:String})
        AND ({failed:UInt8} = 0 OR status >= 400)
    ORDER BY time DESC, request_id DESC
    LIMIT {limit:UInt32}
)
SELECT
    toUnixTimestamp64Milli(page.time) AS time_ms, page.request_id AS request_id, page.key_id AS key_id,
    page.model AS model, page.route AS route, page.status AS status, page.code AS code,
    page.first_byte_us AS first_byte_us, page.duration_us AS duration_us, page.streamed AS streamed,
    charged.stream_seq > 0 AS settled, charged.charge_nano AS charge_nano, charged.prompt_tokens AS prompt_tokens,
    charged.completion_tokens AS completion_tokens
FROM page
LEFT JOIN
(
    SELECT request_id, stream_seq, charge_nano, prompt_tokens, completion_tokens
    FROM charges
    WHERE account_id = {account:String} AND request_id IN (SELECT request_id FROM page)
) AS charged ON charged.request_id = page.request_id
ORDER BY time_ms DESC, request_id DESC
