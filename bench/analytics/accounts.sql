-- $accounts accounts: one in a hundred is a partner (USD), the next fifteen after each are its customers.
INSERT INTO accounts (stream_seq, event_index, time, account_id, parent_id, kind, currency, markup_bps)
SELECT
    2 AS stream_seq,
    number AS event_index,
    toDateTime64('2026-09-30 09:00:00', 3, 'UTC') AS time,
    concat('acc_', lower(hex(toFixedString(leftPad(toString(number), 12, '0'), 12)))) AS account_id,
    if(number % 100 BETWEEN 1 AND 15,
        concat('acc_', lower(hex(toFixedString(leftPad(toString(number - number % 100), 12, '0'), 12)))), '') AS parent_id,
    multiIf(number % 100 = 0, 'partner', number % 100 <= 15, 'partner_customer', number % 10 = 9, 'project', 'user') AS kind,
    if(number % 100 = 0, 'USD', 'TRY') AS currency,
    if(number % 100 BETWEEN 0 AND 15, 3000, 5000) AS markup_bps
FROM numbers($accounts)
