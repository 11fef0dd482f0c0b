INSERT INTO requests
(
    stream_seq, event_index, time, request_id, account_id, key_id, model, provider, route, status, code, first_byte_us,
    duration_us, request_bytes, response_bytes, streamed, disconnected, attempts, edge
)
SELECT
    1 + intDiv(number, 200), number % 200, time, request_id, account_id, key_id, model, if(status = 200, provider, ''),
    'chat', status, code, if(status = 200, first_byte_us, 900 + number % 4000),
    if(status = 200, duration_us, 1000 + number % 4000), prompt_tokens * 4, if(status = 200, completion_tokens * 5, 90),
    number % 3 > 0, fate BETWEEN 0.985 AND 0.99, 1, concat('edge-', toString(1 + number % 3))
FROM
(
    SELECT
        *,
        multiIf(fate < 0.99, 200, fate < 0.994, 402, fate < 0.997, 429, fate < 0.998, 502, fate < 0.9985, 404, fate < 0.9995, 401, 503) AS status,
        multiIf(status = 200, '', status = 402, 'insufficient_balance', status = 429, 'rate_limit_exceeded', status = 502, 'provider_error',
                status = 404, 'model_not_found', status = 401, 'invalid_api_key', 'service_unavailable') AS code
    FROM ($calls_sql)
)
