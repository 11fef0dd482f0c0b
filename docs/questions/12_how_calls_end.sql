-- How do calls end: completed, left by the client, cut, broken off?
SELECT model, sum(d.calls) AS calls, round(100 * sumIf(d.calls, call_end = 'completed') / calls, 2) AS completed,
       round(100 * sumIf(d.calls, call_end = 'cancelled') / calls, 2) AS cancelled,
       round(100 * sumIf(d.calls, call_end = 'cut') / calls, 2) AS cut,
       round(100 * sumIf(d.calls, call_end = 'broken') / calls, 2) AS broken
FROM charges_daily AS d
GROUP BY model
ORDER BY calls DESC
LIMIT 20
