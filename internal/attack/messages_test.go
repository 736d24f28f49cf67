package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestMalformedMessagesAreDroppedInSilence(t *testing.T) {
	c := serve(t, nil)
	header := func(kind uint16, length int, cookie string) []byte {
		return append([]byte{byte(kind >> 8), byte(kind), byte(length >> 8), byte(length)}, cookie+"transaction!"...)
	}
	const cookie = "\x21\x12\xa4\x42"
	many := unsigned(stun.MethodAllocate)
	for range 10_000 {
		many.Add(0x7000, nil)
	}
	wrongPrint := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint).Raw
	wrongPrint[len(wrongPrint)-1] ^= 1
	printNotLast := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint, stun.NewSoftware("x")).Raw
	for name, b := range map[string][]byte{
		"nothing":                  {},
		"half a header":            header(3, 0, cookie)[:10],
		"another cookie":           header(3, 0, "cook"),
		"length beyond the end":    header(3, 64, cookie),
		"length short of the end":  append(header(3, 0, cookie), 0, 6, 0, 0),
		"length not a multiple":    append(header(3, 3, cookie), 1, 2, 3),
		"attribute beyond the end": append(header(3, 4, cookie), 0, 6, 0xff, 0xff),
		"10000 attributes":         many.Raw,
		"wrong fingerprint":        wrongPrint,
		"fingerprint not last":     printNotLast,
		"an unknown method":        header(0x0fee&^0x0110, 0, cookie),
		"a response":               header(0x0101, 0, cookie),
		"an unknown indication":    header(0x0fee&^0x0110|0x10, 0, cookie),
		"Data indication":          header(0x0017, 0, cookie),
		"channel data of nobody":   channelData(0x4000, []byte("x")),
		"channel data cut short":   {0x40, 0, 0xff, 0xff, 1},
		"random bytes":             []byte(strings.Repeat("\xa5\x5a\x00", 500)),
	} {
		t.Run(name, func(t *testing.T) {
			r := c.overUDP(credential{}, 7)
			r.t = t
			r.send(b)
			r.wantSilence(name)
		})
	}
	c.overUDP(user("a"), 7).allocate()
}

func TestUnknownAttributesAreRefused(t *testing.T) {
	c := serve(t, nil)
	for name, r := range map[string]*raw{"UDP": c.overUDP(user("a"), 10), "TCP": c.overTCP(user("a"))} {
		answer := r.wantCode(name, 420, stun.MethodAllocate, relayUDP, stun.RawAttribute{Type: 0x7abc, Value: []byte{1, 2, 3, 4}})
		var unknown stun.UnknownAttributes
		if answer == nil || unknown.GetFrom(answer) != nil || len(unknown) != 1 || unknown[0] != 0x7abc {
			t.Errorf("%s: the answer names %v, want 0x7abc", name, unknown)
		}
	}
}

func TestBadRequestsDoNotFillTheLog(t *testing.T) {
	c := serve(t, options{"log.level": "debug"})
	r := c.overTCP(user("a"))
	r.allocate()
	before, begin := c.logLines(), time.Now()
	for i := range 1000 {
		switch i % 4 {
		case 0:
			r.send(unsigned(stun.Method(0xeee &^ 0x110)).Raw)
		case 1:
			r.cred = signed(turnSecret, fmt.Sprintf("%d\xff:\x00\n%d", i, i))
			r.send(r.build(stun.MethodAllocate, relayUDP).Raw)
		case 2:
			r.send(unsigned(stun.MethodRefresh, lifetimeAttr(0)).Raw)
		default:
			r.send(channelData(0x4abc, []byte("none")))
		}
	}
	c.wantServed("1000 bad requests")
	lines, most := c.logLines()-before, 20*(2+int(time.Since(begin).Seconds()))
	if lines > most {
		t.Errorf("1000 bad requests left %d lines at level debug, want at most %d", lines, most)
	}
	if strings.Contains(c.logged(), "\xff") || strings.Contains(c.logged(), "\x00") {
		t.Error("raw bytes of a username are in the log")
	}
}

func TestStrangersOverUDPGetFewAndSmallAnswers(t *testing.T) {
	c := serve(t, nil)
	r := c.overUDP(credential{}, 12)
	begin := time.Now()
	const asked = 300
	sent, got, answers := 0, 0, 0
	for i := range asked {
		m := unsigned(stun.MethodAllocate)
		if i%2 == 0 {
			m = unsigned(stun.MethodBinding)
		}
		r.send(m.Raw)
		sent += len(m.Raw)
	}
	for {
		b, err := r.read(200 * time.Millisecond)
		if err != nil {
			break
		}
		answers++
		got += len(b)
	}
	if most := 101 + int(10*time.Since(begin).Seconds()); answers == 0 || answers > most {
		t.Errorf("%d answers to %d requests of one network, want at most %d", answers, asked, most)
	}
	if got > 2*sent {
		t.Errorf("%d bytes for %d: worth reflecting", got, sent)
	}
	c.overUDP(user("a"), 13).allocate() // another network is served meanwhile
}
