package recorder

import "time"

// Bounds of an activity strip.
const (
	activityStep = 500 * time.Millisecond
	maxActivity  = 2 * int(time.Hour/activityStep) // steps; a file of sound ends before
	silentLevel  = 127                             // -dBov
)

// Values of Activity.Source.
const (
	// ActivityLevel: the publisher stated it with every packet (RFC 6464).
	ActivityLevel = "audio_level"
	// ActivitySize: guessed from the length of the packets. An encoder of
	// variable rate spends more on speech than on the noise of a room.
	ActivitySize = "packet_size"
)

// Activity says how loud a microphone was, so that a player shows who spoke
// when without decoding anything.
type Activity struct {
	StepMS int64  `json:"step_ms"`
	Source string `json:"source"`
	// Levels has one byte a step, from the first moment of the file on: the
	// loudest packet in it, in -dBov. 0 is the loudest, 127 is silence. In JSON
	// it is base64.
	Levels []byte `json:"levels"`
}

// activityMeter collects the activity of one file of sound. The zero value is
// ready.
type activityMeter struct {
	stated  []byte
	guessed []byte
}

// state adds a level that the publisher stated for the packet at ms.
func (m *activityMeter) state(ms int64, level uint8) { loudest(&m.stated, ms, min(level, silentLevel)) }

// guess adds an Opus packet by its length alone.
func (m *activityMeter) guess(ms int64, packet []byte) { loudest(&m.guessed, ms, sizeLevel(packet)) }

// loudest keeps the louder of level and what is known of the step at ms.
func loudest(levels *[]byte, ms int64, level uint8) {
	step := int(ms / activityStep.Milliseconds())
	if ms < 0 || step >= maxActivity {
		return
	}
	for len(*levels) <= step {
		*levels = append(*levels, silentLevel)
	}
	(*levels)[step] = min((*levels)[step], level)
}

// result returns what was collected, nil if that is nothing.
func (m *activityMeter) result() *Activity {
	a := &Activity{StepMS: activityStep.Milliseconds(), Source: ActivityLevel, Levels: m.stated}
	if len(m.stated) == 0 {
		a.Source, a.Levels = ActivitySize, m.guessed
	}
	if len(a.Levels) == 0 {
		return nil
	}
	return a
}

// sizeLevel guesses a level from the bytes an encoder spent on 20 ms: 10 are
// silence, 50 (20 kbit/s) the least of speech, 120 are loud.
func sizeLevel(packet []byte) uint8 {
	const silence, speech, loud = 10, 50, 120
	const speechLevel, loudLevel = 50, 20
	samples := opusDuration(packet)
	if samples == 0 {
		return silentLevel
	}
	switch size := int64(len(packet)) * 960 / samples; {
	case size <= silence:
		return silentLevel
	case size <= speech:
		return uint8(silentLevel - (size-silence)*(silentLevel-speechLevel)/(speech-silence))
	case size <= loud:
		return uint8(speechLevel - (size-speech)*(speechLevel-loudLevel)/(loud-speech))
	default:
		return loudLevel
	}
}
