-- What a partner's customers paid in lira, against what their partner paid for the same calls, by $group: the partner's
-- dollars turned to lira call by call at the rate that the ledger logged for it, which the roll-ups do not keep.
WITH family AS
(
    SELECT account_id FROM accounts WHERE account_id = {partner:String} OR parent_id = {partner:String}
)
SELECT
    $group AS name,
    count() AS calls,
    sum(c.charge_nano) AS paid_nano,
    sum(c.parent_charge_nano) AS cost_usd_nano,
    sum(intDiv(toInt128(c.parent_charge_nano) * c.fx_rate_nano, 1000000000)) AS cost_nano,
    paid_nano - cost_nano AS margin_nano,
    if(cost_nano > 0, toInt64(intDiv(margin_nano * 10000, cost_nano)), 0) AS margin_bps
FROM charges AS c
WHERE c.parent_id IN family AND c.parent_currency = 'USD' AND c.currency = 'TRY'
    AND c.time >= toDateTime({first:Date}, 'Europe/Istanbul') AND c.time < toDateTime({end:Date}, 'Europe/Istanbul')
GROUP BY name
ORDER BY $order
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
