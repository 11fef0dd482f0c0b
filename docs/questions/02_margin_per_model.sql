-- What does the house earn with each model?
SELECT model, sum(m.calls) AS calls, round(sum(m.revenue_usd), 2) AS revenue, round(sum(m.cost_usd), 2) AS cost,
       round(sum(m.margin_usd), 2) AS margin, round(100 * sum(m.margin_usd) / nullIf(sum(m.revenue_usd), 0), 1) AS margin_percent
FROM margins AS m
GROUP BY model
ORDER BY margin DESC
LIMIT 20
