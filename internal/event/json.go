package event

import "encoding/json"

// timeFormat is RFC 3339 with microseconds: always six digits, always UTC, so
// that times of events also sort as text.
const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// plain is Event without its methods.
type plain Event

// MarshalJSON gives the event as it goes over every wire: time with
// microseconds, data always an object.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Data == nil {
		e.Data = map[string]any{}
	}
	return json.Marshal(struct {
		Time string `json:"time"`
		plain
	}{e.Time.UTC().Format(timeFormat), plain(e)})
}
