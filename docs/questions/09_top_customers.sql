-- Which customers bring most of the revenue, and what share is it?
SELECT account_id, sum(m.calls) AS calls, round(sum(m.revenue_usd), 2) AS revenue_usd,
       round(100 * sum(m.revenue_usd) / (SELECT sum(revenue_usd) FROM margins), 2) AS percent
FROM margins AS m
GROUP BY account_id
ORDER BY revenue_usd DESC
LIMIT 10
