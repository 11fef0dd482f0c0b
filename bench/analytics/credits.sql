-- A first payment each, and a second one for the half that uses most. Partners pay in USD.
INSERT INTO credits (stream_seq, event_index, leg, time, account_id, parent_id, kind, currency, asked_nano, amount_nano, reference, actor)
SELECT
    3 + second, rowNumberInAllBlocks() % 65000, 0,
    toDateTime64('2026-09-30 10:00:00', 3, 'UTC') + INTERVAL second * 15 DAY,
    a.account_id, a.parent_id, 'added', a.currency, amount, amount, concat('payment-', toString(second)), 'console'
FROM accounts AS a
CROSS JOIN (SELECT arrayJoin([0, 1]) AS second) AS s
CROSS JOIN (SELECT 1) AS one
ARRAY JOIN [if(a.kind = 'partner', 60000, intDiv($calls, 400) + cityHash64(a.account_id) % intDiv($calls, 200)) * 1000000000] AS amount
WHERE second = 0 OR cityHash64(a.account_id) % 2 = 0
