-- How long do answers of each provider take?
SELECT provider, sum(l.calls) AS calls,
       arrayMap(us -> round(us / 1e6, 2), quantilesTDigestMerge(0.5, 0.9, 0.99)(l.duration_us)) AS seconds_p50_p90_p99,
       arrayMap(us -> round(us / 1e6, 2), quantilesTDigestMerge(0.5, 0.9, 0.99)(l.first_byte_us)) AS first_byte_p50_p90_p99
FROM latency_hourly AS l
WHERE route = 'chat' AND succeeded
GROUP BY provider
ORDER BY calls DESC
