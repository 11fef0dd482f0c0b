-- At which hours of the day (Istanbul) are the most calls made?
SELECT toHour(toTimeZone(hour, 'Europe/Istanbul')) AS istanbul_hour, sum(h.calls) AS calls, bar(calls, 0, max(calls) OVER (), 30) AS shape
FROM requests_hourly AS h
GROUP BY istanbul_hour
ORDER BY istanbul_hour
