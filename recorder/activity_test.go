package recorder

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// opusOf returns a 20 ms packet of n bytes.
func opusOf(n int) []byte {
	return append([]byte{31<<3 | 1<<2}, make([]byte, n-1)...)
}

func TestAStepHasTheLoudestPacketInIt(t *testing.T) {
	var m activityMeter
	for ms, level := range map[int64]uint8{0: 90, 20: 30, 480: 127, 500: 60, 1700: 12, -20: 1, 1 << 50: 1} {
		m.state(ms, level)
	}
	m.guess(0, opusOf(120))
	got := m.result()
	if got.Source != ActivityLevel || got.StepMS != 500 || !bytes.Equal(got.Levels, []byte{30, 60, 127, 12}) {
		t.Errorf("got %+v", got)
	}
	if text, err := json.Marshal(got); err != nil || !strings.Contains(string(text), `"levels":"Hjx/DA=="`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestWithoutStatedLevelsTheSizesOfPacketsTell(t *testing.T) {
	var m activityMeter
	if m.result() != nil {
		t.Error("nothing gave a strip")
	}
	for i, n := range []int{3, 30, 50, 80, 400} {
		m.guess(int64(i)*500, opusOf(n))
	}
	m.guess(2500, nil)
	got := m.result()
	if got.Source != ActivitySize || !bytes.Equal(got.Levels, []byte{127, 89, 50, 38, 20, 127}) {
		t.Errorf("got %+v", got)
	}
}

func TestAnActivityStripIsBounded(t *testing.T) {
	var m activityMeter
	m.state(int64(maxActivity-1)*500, 5)
	m.state(int64(maxActivity)*500, 5)
	if got := len(m.result().Levels); got != maxActivity {
		t.Errorf("%d steps, want %d", got, maxActivity)
	}
}
