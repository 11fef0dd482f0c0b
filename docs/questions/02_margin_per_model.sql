-- What does the house earn with each model?
SELECT model, sum(calls) AS calls, round(sum(revenue_usd), 2) AS revenue_usd, round(sum(cost_usd), 2) AS cost_usd,
       round(sum(margin_usd), 2) AS margin_usd, round(100 * sum(margin_usd) / sum(revenue_usd), 1) AS margin_percent
FROM margins
GROUP BY model
ORDER BY margin_usd DESC
