-- What does each customer spend per day, in TRY?
SELECT account_id, day, sum(calls) AS calls, sum(charge_nano) / 1e9 AS try
FROM charges_daily
WHERE currency = 'TRY' AND day >= (SELECT max(day) - 6 FROM charges_daily)
GROUP BY account_id, day
ORDER BY try DESC
LIMIT 10
