package timeline

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"time"

	"consilium/internal/event"
)

// RTCKey is the key of a client entry's data with what an rtcstats dump says of
// it: method, id of the peer connection or null, value, and more.
const RTCKey = "rtc"

const (
	dumpMagic   = "RTCStatsDump"
	dumpVersion = 3
	maxExtra    = 4 // elements of RTCKey after the value
)

// method is a line of an rtcstats dump, but for its time.
type method struct {
	name  string // "" : the entry has none
	pc    string // "" : none
	value any
	extra []any
}

// methodOf reads what a client says, which may be anything.
func methodOf(e Entry) method {
	list, _ := e.Data[RTCKey].([]any)
	if len(list) < 3 || len(list) > 3+maxExtra {
		return method{}
	}
	name, ok := list[0].(string)
	pc, ok2 := list[1].(string)
	if !ok || name == "" || !ok2 && list[1] != nil {
		return method{}
	}
	return method{name: name, pc: pc, value: list[2], extra: list[3:]}
}

// text is the value where that is text.
func (m method) text() string {
	s, _ := m.value.(string)
	return s
}

// Dump is a participant's part of a call, to be written in the file format of
// rtcstats, version 3: text any WebRTC engineer has tools for. Each line after
// the second is a JSON array of method, peer connection (or null), value, maybe
// more, and the milliseconds since the line before (the first: since 1970), by
// the server's clock. What rtcstats has no method for is "consilium.client"
// (the device's log) and "consilium.server" (what the server saw).
//
// A dump is made to be given away: it holds no token, password or name, and of
// public addresses only the network.
type Dump struct {
	Call        string
	Participant string
	Entries     []Entry // as Timeline.Of returns them
}

// Write writes the dump.
func (d Dump) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	lines := dumpLines{out: json.NewEncoder(out), clean: newCleaner(), pcs: make(map[string]string)}
	lines.out.SetEscapeHTML(false)
	if _, err := fmt.Fprintln(out, dumpMagic); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	if err := lines.out.Encode(d.metadata(lines.clean)); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	for _, e := range d.Entries {
		if err := lines.write(e); err != nil {
			return fmt.Errorf("write dump: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}

// metadata is the second line.
func (d Dump) metadata(clean *cleaner) map[string]any {
	about := map[string]any{"fileFormat": dumpVersion, "generator": "consilium", "call": d.Call, "participant": d.Participant}
	for _, e := range d.Entries {
		if agent := text(e.Data, "user_agent"); agent != "" && e.Side == Server {
			about["userAgent"] = clean.text(agent)
			break
		}
	}
	if len(d.Entries) > 0 {
		about["startTime"] = d.Entries[0].At.UnixMilli()
	}
	return about
}

// dumpLines writes lines one after the other.
type dumpLines struct {
	out   *json.Encoder
	clean *cleaner
	last  int64             // ms since 1970 of the line before
	pcs   map[string]string // id in the dump, by session and id in the page
}

func (l *dumpLines) write(e Entry) error {
	if e.Side == Client && text(e.Data, "text") == "stats" {
		return nil // getStats says more
	}
	m := methodOf(e)
	switch {
	case e.Side == Client && m.name != "":
		return l.line(e.At, m.name, l.pc(e.Session, m.pc), l.clean.value(m.value), m.extra...)
	case e.Side == Client:
		return l.line(e.At, "consilium.client", nil, l.clean.value(clientValue(e.Event)))
	default:
		return l.line(e.At, "consilium.server", nil, l.clean.value(serverValue(e.Event)))
	}
}

func (l *dumpLines) line(at time.Time, name string, pc, value any, extra ...any) error {
	list := []any{name, pc, value}
	for _, x := range extra {
		list = append(list, l.clean.value(x))
	}
	now := at.UnixMilli()
	list = append(list, now-l.last)
	l.last = now
	return l.out.Encode(list)
}

// pc returns the id of a peer connection in the dump: a page that is loaded
// anew counts from the beginning again.
func (l *dumpLines) pc(session, id string) any {
	if id == "" {
		return nil
	}
	key := session + " " + id
	if l.pcs[key] == "" {
		l.pcs[key] = fmt.Sprintf("PC_%d", len(l.pcs))
	}
	return l.pcs[key]
}

func clientValue(e event.Event) map[string]any {
	value := failureValue(e)
	maps.Copy(value, e.Data)
	for _, key := range []string{"device_ms", "client_time"} {
		delete(value, key)
	}
	value["stage"] = e.Stage
	return value
}

func serverValue(e event.Event) map[string]any {
	value := failureValue(e)
	value["type"] = e.Type
	if len(e.Data) > 0 {
		value["data"] = e.Data
	}
	if e.Track != "" {
		value["track"] = e.Track
	}
	return value
}

func failureValue(e event.Event) map[string]any {
	value := make(map[string]any)
	if e.Code == "" {
		return value
	}
	value["code"], value["stage"] = e.Code, e.Stage
	if e.Direction != "" {
		value["direction"] = e.Direction
	}
	if e.Evidence != nil {
		value["evidence"] = e.Evidence
	}
	return value
}
