package event

import (
	"encoding/json"
	"testing"
	"time"
)

func TestJSONHasMicrosecondsAndReadsBack(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 30, 0, 120_000_000, time.FixedZone("", 3*3600))
	e := Event{ID: "1", Type: MediaTimeout, Time: at, Call: "c", Failure: Failure{Code: NoMediaOut, Direction: Out}}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got["time"] != "2026-11-23T09:30:00.120000Z" {
		t.Errorf("time = %v", got["time"])
	}
	if data, ok := got["data"].(map[string]any); !ok || len(data) != 0 {
		t.Errorf("data = %v, want an empty object", got["data"])
	}
	if got["code"] != "NO_MEDIA_OUT" || got["direction"] != "out" || got["call"] != "c" {
		t.Errorf("fields are missing: %s", text)
	}
	var back Event
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !back.Time.Equal(at) || back.Code != NoMediaOut {
		t.Errorf("read back %+v", back)
	}
}
