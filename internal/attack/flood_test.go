package attack

import (
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// strangers sends datagrams to the media port, perSecond of them for d, each
// made by next, and returns what came back.
func (c *child) strangers(perSecond int, d time.Duration, next func(i int) []byte) (answers int) {
	c.t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(c.media))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	const ticks = 100 // a second
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	sent := 0
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		for range perSecond / ticks {
			_, _ = conn.Write(next(sent)) // one that was refused is as good
			sent++
		}
	}
	buf := make([]byte, 2048)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := conn.Read(buf); err != nil {
			return answers
		}
		answers++
	}
}

// check is an ICE check as a client would send it.
func check(username, password string, more ...stun.Setter) []byte {
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(username)}
	setters = append(setters, more...)
	setters = append(setters,
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0, 1, 0xff}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		stun.NewShortTermIntegrity(password), stun.Fingerprint)
	return stun.MustBuild(setters...).Raw
}

func TestFloodsOfStrangersDoNotDisturbACall(t *testing.T) {
	c := serve(t, nil)
	call := c.call(nil)
	unknown := check("nobody1234567890:someone", "a password that is not right")
	large := make([]byte, 65507)
	for name, next := range map[string]func(int) []byte{
		"checks for an unknown user fragment": func(int) []byte { return unknown },
		"Binding requests without a username": func(int) []byte { return unsigned(stun.MethodBinding).Raw },
		"datagrams of every first byte": func(i int) []byte {
			b := make([]byte, i%1400)
			for j := range b {
				b[j] = byte(i + j*7)
			}
			return b
		},
	} {
		call.measure(name+", 2000 a second", func() {
			if n := c.strangers(2000, 2*time.Second, next); n != 0 {
				t.Errorf("%s: %d answers, want none", name, n)
			}
		})
	}
	call.measure("datagrams of 65507 bytes, 100 a second", func() {
		if n := c.strangers(100, 2*time.Second, func(int) []byte { return large }); n != 0 {
			t.Errorf("%d answers to large datagrams", n)
		}
	})
}
