package contract

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// event is an event as a receiver that knows only the contract reads it.
type event struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Time        string            `json:"time"`
	Call        string            `json:"call"`
	Room        string            `json:"room"`
	Participant string            `json:"participant"`
	Track       string            `json:"track"`
	ExternalID  string            `json:"external_id"`
	Metadata    map[string]string `json:"metadata"`
	Code        string            `json:"code"`
	Data        map[string]any    `json:"data"`
}

// at is the time of the event.
func (e event) at() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, e.Time)
	return at
}

type page struct {
	Events []event `json:"events"`
	Next   string  `json:"next"`
}

// events returns everything in the feed.
func (c *child) events() []event {
	c.t.Helper()
	var all []event
	for after := ""; ; {
		var p page
		c.get("/v1/events?limit=1000&after="+after, &p)
		if len(p.Events) == 0 {
			return all
		}
		all, after = append(all, p.Events...), p.Next
	}
}

// waitEvent waits for an event of a type in a room, from somebody if identity
// is given, and returns the first.
func (c *child) waitEvent(d time.Duration, typ, room, identity string) event {
	c.t.Helper()
	var found event
	defer func() {
		if found.ID == "" {
			c.t.Logf("events:%s", summary(c.events()))
		}
	}()
	eventually(c.t, d, typ+" of "+identity+" in "+room, func() bool {
		all := c.events()
		i := slices.IndexFunc(all, func(e event) bool {
			return e.Type == typ && e.Room == room && (identity == "" || e.Participant == identity)
		})
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

func summary(all []event) string {
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "\n  %s %s %s %s %s %s %v", e.Time, e.Type, e.Room, e.Call, e.Participant, e.Code, e.Data)
	}
	return b.String()
}
