-- How much of the month's error budget (99.9 % of calls without a 5xx) is spent?
SELECT toStartOfMonth(day) AS month, sum(r.calls) AS calls, sumIf(r.calls, status >= 500) AS failed,
       round(100 * (1 - failed / calls), 4) AS available_percent, round(100 * failed / (calls * 0.001), 1) AS budget_spent_percent
FROM requests_daily AS r
WHERE route IN ('chat', 'generate') AND status != 0
GROUP BY month
ORDER BY month
