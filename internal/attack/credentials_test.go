package attack

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"consilium/internal/bot"
)

// inAnHour is the expiry of a good username.
func inAnHour() string { return fmt.Sprint(time.Now().Add(time.Hour).Unix()) }

func TestForgedCredentialsGetNothing(t *testing.T) {
	c := serve(t, nil)
	good := user("alice")
	for name, cred := range map[string]credential{
		"another's password":      {inAnHour() + ":bob", good.password},
		"another secret":          signed("a secret that is not ours, but is long", inAnHour()+":alice"),
		"the year 9999":           signed("a secret that is not ours, but is long", "253370764800:alice"),
		"expired":                 signed(turnSecret, fmt.Sprint(time.Now().Add(-time.Minute).Unix())+":alice"),
		"no colon":                signed(turnSecret, inAnHour()),
		"two colons":              signed(turnSecret, inAnHour()+":a:b"),
		"empty":                   signed(turnSecret, ""),
		"not UTF-8":               signed(turnSecret, inAnHour()+":\xff\xfe"),
		"a session that is not":   signed(turnSecret, inAnHour()+":+nosuchsession"),
		"1000 bytes":              signed(turnSecret, inAnHour()+":"+strings.Repeat("a", 1000)),
		"of a format string":      signed(turnSecret, inAnHour()+":%s%n%d"),
		"a number that overflows": signed(turnSecret, "99999999999999999999999:alice"),
	} {
		c.overTCP(cred).wantCode(name, 401, stun.MethodAllocate, relayUDP)
	}
	foreign := c.overTCP(good)
	foreign.realm = "elsewhere"
	foreign.wantCode("another realm", 401, stun.MethodAllocate, relayUDP)
	huge := c.overUDP(signed(turnSecret, inAnHour()+":"+strings.Repeat("a", 10_000)), 16)
	huge.nonce = stun.Nonce("0123456789abcdef")
	if code, _ := huge.request(stun.MethodAllocate, relayUDP); code == 0 {
		t.Error("a username of 10 kB was accepted")
	}
	c.overTCP(good).allocate()
}

func TestNonceOfAnotherStartIsStale(t *testing.T) {
	first, second := serve(t, nil), serve(t, nil)
	old, next := first.overTCP(user("a")), second.overTCP(user("a"))
	old.allocate()
	for name, nonce := range map[string]stun.Nonce{
		"of another start": old.nonce, "forged": stun.Nonce(strings.Repeat("0", len(old.nonce))), "short": stun.Nonce("0"),
	} {
		next.nonce = nonce
		next.wantCode("nonce "+name, 438, stun.MethodAllocate, relayUDP)
	}
	next.nonce = nil
	next.allocate()
}

func TestReplayedAllocateIsBoundedByTheQuota(t *testing.T) {
	const quota = 4
	c := serve(t, options{"turn.allocations_per_session": fmt.Sprint(quota)})
	owner := c.overTCP(c.session("victim"))
	owner.allocate()
	captured := owner.build(stun.MethodAllocate, relayUDP).Raw
	granted := 0
	for range 3 * quota {
		thief := c.overTCP(credential{})
		m := &stun.Message{Raw: bytes.Clone(captured)}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		answer, err := thief.exchange(m)
		if err != nil {
			t.Fatal(err)
		}
		if errorCode(answer) == 0 {
			granted++
		}
	}
	if granted > quota-1 {
		t.Errorf("%d replays were granted beside the owner's, want at most %d", granted, quota-1)
	}
	owner.wantCode("the owner's Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
}

// session joins and returns the TURN credential of the session.
func (c *child) session(identity string) credential {
	c.t.Helper()
	return credentialOf(c.t, c.join("room-"+identity, identity, "patient", nil))
}

func credentialOf(t *testing.T, b *bot.Bot) credential {
	t.Helper()
	var cred credential
	err := b.Wait(within(t, 20*time.Second), "a TURN credential", func(s *bot.Snapshot) bool {
		for _, server := range s.Welcome.ICEServers {
			cred = credential{server.Username, server.Credential}
		}
		return cred.username != ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestOthersCannotTouchAnAllocation(t *testing.T) {
	c := serve(t, nil)
	victim := c.overTCP(user("victim"))
	victim.greet()
	request := victim.build(stun.MethodAllocate, relayUDP)
	first, err := victim.exchange(request)
	if err != nil || errorCode(first) != 0 {
		t.Fatalf("Allocate: %v, %v", first, err)
	}
	again, err := victim.exchange(request)
	if err != nil || errorCode(again) != 0 {
		t.Fatalf("the same Allocate once more: %v, %v", again, err)
	}
	var one, two stun.XORMappedAddress
	if one.GetFromAs(first, stun.AttrXORRelayedAddress) != nil || two.GetFromAs(again, stun.AttrXORRelayedAddress) != nil || one.String() != two.String() {
		t.Errorf("a repeated Allocate got %v, the first %v", two, one)
	}
	victim.wantCode("a second Allocate", 437, stun.MethodAllocate, relayUDP)
	owner := victim.cred
	victim.cred = user("thief")
	if code, _ := victim.request(stun.MethodRefresh, lifetimeAttr(0)); code == 0 {
		t.Error("another user ended the allocation")
	}
	victim.cred = owner
	victim.wantCode("the owner's Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
}

func TestRelayOfASessionEndsWithIt(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	person := c.join("room", "leaver", "patient", nil)
	cred := credentialOf(t, person)
	overUDP, overTCP := c.overUDP(cred, 47), c.overTCP(cred)
	overUDP.allocate()
	overTCP.allocate()
	if err := person.WaitConnected(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := person.Leave(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the relays of who left refuse", func() bool {
		code, _ := overUDP.request(stun.MethodRefresh, lifetimeAttr(600))
		return code == 401
	})
	overTCP.wantCode("Refresh over TCP", 401, stun.MethodRefresh, lifetimeAttr(600))
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the relays refused %v after the leave, want at most 1 s", took)
	}
	overTCP.wantCode("Allocate after the leave", 401, stun.MethodAllocate, relayUDP)
	overTCP.wantClosed("a connection without an allocation", 16*time.Second)
}

func TestRotatedSecretsAreAcceptedOnce(t *testing.T) {
	const next, last = "the secret after the rotation, long enough", "the secret after the next one, long enough"
	old := user("alice")
	for _, start := range []struct {
		keys options
		want int
	}{
		{options{"turn.secret": next, "turn.previous_secret": turnSecret}, 0},
		{options{"turn.secret": last, "turn.previous_secret": next}, 401},
		{options{"turn.secret": next, "turn.previous_secret": turnSecret, "turn.realm": "other"}, 401},
	} {
		c := serve(t, start.keys)
		c.overTCP(old).wantCode(fmt.Sprint("over TCP with ", start.keys), start.want, stun.MethodAllocate, relayUDP)
		c.overUDP(old, 48).wantCode(fmt.Sprint("over UDP with ", start.keys), start.want, stun.MethodAllocate, relayUDP)
		if start.keys["turn.realm"] == "" {
			c.overTCP(signed(next, inAnHour()+":bob")).allocate()
		}
	}
	c := serve(t, options{"turn.secret": next, "turn.previous_secret": turnSecret})
	expired := signed(turnSecret, fmt.Sprint(time.Now().Add(-time.Minute).Unix())+":alice")
	c.overTCP(expired).wantCode("an expired one of the old secret", 401, stun.MethodAllocate, relayUDP)
}
