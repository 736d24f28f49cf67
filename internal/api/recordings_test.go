package api

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/internal/audit"
	"consilium/internal/catalog"
)

func TestRangesAreThoseOfRFC9110(t *testing.T) {
	s, log := newWatchedSite(t)
	const file = "/v1/recordings/rec1/files/p1-cam-1.webm"
	etag := s.send(t, "HEAD", file, "").header.Get("Etag")
	for name, test := range map[string]struct {
		header []string
		status int
		body   string // "-": not looked at
		part   string // Content-Range
	}{
		"whole":             {nil, 200, "0123456789", ""},
		"the first":         {[]string{"Range", "bytes=0-0"}, 206, "0", "bytes 0-0/10"},
		"open end":          {[]string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		"suffix":            {[]string{"Range", "bytes=-4"}, 206, "6789", "bytes 6-9/10"},
		"suffix too long":   {[]string{"Range", "bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		"suffix of nothing": {[]string{"Range", "bytes=-0"}, 416, "-", "bytes */10"},
		"and of something":  {[]string{"Range", "bytes=-00, -1"}, 206, "9", "bytes 9-9/10"},
		"end too far":       {[]string{"Range", "bytes=8-99"}, 206, "89", "bytes 8-9/10"},
		"beyond the end":    {[]string{"Range", "bytes=10-"}, 416, "-", "bytes */10"},
		"back to front":     {[]string{"Range", "bytes=5-2"}, 416, "-", ""},
		"no numbers":        {[]string{"Range", "bytes=a-b"}, 416, "-", ""},
		"huge":              {[]string{"Range", "bytes=99999999999999999999-"}, 416, "-", ""},
		"more than it has":  {[]string{"Range", "bytes=0-9,0-9,0-9"}, 200, "0123456789", ""}, // RFC 9110, 14.2: a flood is ignored
		"still the same":    {[]string{"Range", "bytes=1-2", "If-Range", etag}, 206, "12", "bytes 1-2/10"},
		"no longer":         {[]string{"Range", "bytes=1-2", "If-Range", `"old"`}, 200, "0123456789", ""},
		"not modified":      {[]string{"If-None-Match", etag}, 304, "", ""},
		"another one":       {[]string{"If-Match", `"old"`}, 412, "-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, "GET", file, "", test.header...)
			if a.status != test.status || test.body != "-" && string(a.text) != test.body ||
				test.part != "" && a.header.Get("Content-Range") != test.part {
				t.Errorf("%d %q %s", a.status, a.header.Get("Content-Range"), a.text)
			}
			if test.status < 300 && (a.header.Get("Cache-Control") != "private, no-store" ||
				a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cross-Origin-Resource-Policy") != "same-origin") {
				t.Errorf("header %v", a.header)
			}
		})
	}
	if head := s.send(t, "HEAD", file, "", "Range", "bytes=2-4"); head.status != 206 || len(head.text) != 0 || head.header.Get("Content-Length") != "3" {
		t.Errorf("HEAD of a range: %d %v", head.status, head.header)
	}
	checkParts(t, s.send(t, "GET", file, "", "Range", "bytes=0-1,4-5,-1"))
	for _, e := range log.entries(t) {
		if e.Action == audit.Downloaded && (e.Data["bytes"].(float64) < 10 || e.Data["requests"].(float64) < 10) {
			t.Errorf("the log says %v", e.Data)
		}
	}
}

// checkParts checks an answer of several ranges.
func checkParts(t *testing.T, a answer) {
	t.Helper()
	kind, more, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || a.status != 206 || kind != "multipart/byteranges" {
		t.Fatalf("several ranges: %d %s, %v", a.status, kind, err)
	}
	var parts []string
	for reader := multipart.NewReader(strings.NewReader(string(a.text)), more["boundary"]); ; {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil || part.Header.Get("Content-Type") != "video/webm" {
			t.Errorf("part %v, %v", part.Header, err)
		}
		parts = append(parts, part.Header.Get("Content-Range")+" "+string(body))
	}
	if want := []string{"bytes 0-1/10 01", "bytes 4-5/10 45", "bytes 9-9/10 9"}; !slices.Equal(parts, want) {
		t.Errorf("parts %q, want %q", parts, want)
	}
}

func TestAListOfRecordingsIsSelectedAndPaged(t *testing.T) {
	s := newSite(t)
	a := s.send(t, "GET", "/v1/recordings?room=red&external_id=visit-1&state=final&limit=5", "")
	list, _ := a.json["recordings"].([]any)
	if a.status != 200 || len(list) != 1 || a.json["next"] != "1.rec1" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if one := list[0].(map[string]any); one["id"] != "rec1" || one["room"] != "red" || one["external_id"] != "visit-1" || one["state"] != "final" {
		t.Errorf("got %v", one)
	}
	for _, bad := range []string{
		"after=x", "limit=0", "limit=x", "state=odd", "from=yesterday", "to=2026-13-01T00:00:00Z",
	} {
		if a := s.send(t, "GET", "/v1/recordings?"+bad, ""); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
	query := url.Values{
		"from": {"2026-11-23T08:00:00Z"}, "to": {"2026-11-24T08:00:00+03:00"}, "room": {"r"}, "external_id": {"x"},
		"participant": {"p"}, "state": {"live"}, "after": {"1.a"}, "limit": {"7"},
	}
	f, err := readRecordingQuery(query)
	want := catalog.Filter{
		Room: "r", ExternalID: "x", Participant: "p", State: "live", After: "1.a", Limit: 7,
		From: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 24, 5, 0, 0, 0, time.UTC),
	}
	if f.To = f.To.UTC(); err != nil || f != want {
		t.Errorf("read %+v, %v", f, err)
	}
}

func TestTheAuditLogIsReadInPages(t *testing.T) {
	s, log := newWatchedSite(t)
	for _, id := range []string{"a", "b", "a"} {
		if err := log.Append(t.Context(), audit.Entry{Action: audit.Held, Recording: id}); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"":                             "[1 2 3] 3",
		"?limit=2":                     "[1 2] 2",
		"?limit=2&after=2":             "[3] 3",
		"?after=3":                     "[] 3",
		"?recording=a":                 "[1 3] 3",
		"?recording=a&after=1&limit=1": "[3] 3",
		"?recording=none":              "[] 0",
	} {
		a := s.send(t, "GET", "/v1/audit"+query, "")
		entries, _ := a.json["entries"].([]any)
		numbers := []any{}
		for _, e := range entries {
			numbers = append(numbers, e.(map[string]any)["sequence"])
		}
		if got := fmt.Sprint(numbers, a.json["next"]); a.status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", query, a.status, got, want)
		}
	}
	for _, bad := range []string{"after=x", "after=-1", "limit=0", "recording=" + strings.Repeat("x", 300)} {
		if a := s.send(t, "GET", "/v1/audit?"+bad, ""); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
}
