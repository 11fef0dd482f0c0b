-- Which model of which provider got slower this week than the week before?
WITH (SELECT max(hour) FROM latency_hourly) AS newest
SELECT model, provider,
       round(quantilesTDigestMergeIf(0.5, 0.9, 0.99)(l.first_byte_us, hour <= newest - INTERVAL 7 DAY)[3] / 1e6, 2) AS p99_before,
       round(quantilesTDigestMergeIf(0.5, 0.9, 0.99)(l.first_byte_us, hour > newest - INTERVAL 7 DAY)[3] / 1e6, 2) AS p99_now,
       round(100 * (p99_now / p99_before - 1), 1) AS percent
FROM latency_hourly AS l
WHERE hour > newest - INTERVAL 14 DAY AND succeeded
GROUP BY model, provider
ORDER BY percent DESC
LIMIT 10
