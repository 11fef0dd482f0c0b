-- What everybody below a partner paid today and since the first of the month, by currency. Nano-units.
-- `own…` is what the partner's own balance paid for that: its customers' calls at its price.
WITH family AS
(
    SELECT account_id FROM accounts WHERE account_id = {partner:String} OR parent_id = {partner:String}
)
SELECT
    d.currency AS currency,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.day = {today:Date}) AS calls_today,
    sum(d.charge_nano) AS month_nano,
    sumIf(d.charge_nano, d.day = {today:Date}) AS today_nano,
    sumIf(d.parent_charge_nano, d.parent_id = {partner:String}) AS own_month_nano,
    sumIf(d.parent_charge_nano, d.parent_id = {partner:String} AND d.day = {today:Date}) AS own_today_nano
FROM charges_daily AS d
WHERE d.parent_id IN family AND d.day BETWEEN {first:Date} AND {today:Date}
GROUP BY d.currency
