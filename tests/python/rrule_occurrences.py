"""Occurrences of RFC 5545 recurrences as dateutil and zoneinfo see them: questions on stdin, answers on stdout.

A question is a line of JSON: {"start", "rule", "from", "to", "zone"}; times are local, `YYYY-MM-DDTHH:MM:SS`. Its answer
is {"local": […], "instants": […]}: the local times between `from` and `to`, both included, and the seconds since 1970 at
which they begin in the zone. A time that the clocks skip is as much later, one that comes twice is the first (`fold=0`).
"""

import json
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        start = datetime.fromisoformat(asked["start"])
        try:
            rule = rrulestr(asked["rule"], dtstart=start)
        except ValueError as error:
            # Of hours that it never meets it makes no rule; others are rules without occurrences.
            if "empty set" not in str(error):
                raise
            print(json.dumps({"local": [], "instants": []}), flush=True)
            continue
        begin, end = (datetime.fromisoformat(asked[name]) for name in ("from", "to"))
        found = rule.between(begin, end, inc=True)
        zone = ZoneInfo(asked["zone"])
        answer = {
            "local": [at.isoformat() for at in found],
            "instants": sorted({int(at.replace(tzinfo=zone).timestamp()) for at in found}),
        }
        print(json.dumps(answer), flush=True)


main()
