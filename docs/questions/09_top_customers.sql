-- Which customers bring most of the revenue, and what share is it?
SELECT account_id, sum(d.calls) AS calls, round(sum(d.revenue_usd_nano) / 1e9, 2) AS revenue_usd,
       round(100 * sum(d.revenue_usd_nano) / (SELECT sum(revenue_usd_nano) FROM charges_daily), 2) AS percent
FROM charges_daily AS d
GROUP BY account_id
ORDER BY revenue_usd DESC
LIMIT 10
