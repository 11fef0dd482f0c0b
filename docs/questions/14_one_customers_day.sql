-- What did one customer do on one day, call by call, with latency and price?
SELECT time, request_id, model, provider, status, round(first_byte_us / 1e3) AS first_byte_ms, round(duration_us / 1e3) AS duration_ms,
       completion_tokens, charge_nano / 1e9 AS charged, currency
FROM calls
WHERE account_id = (SELECT account_id FROM charges_daily GROUP BY account_id ORDER BY sum(calls) DESC LIMIT 1 OFFSET 20)
ORDER BY time DESC
LIMIT 10
