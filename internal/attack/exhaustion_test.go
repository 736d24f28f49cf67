package attack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestScannerWithManyPeersLosesItsAllocation(t *testing.T) {
	c := serve(t, nil)
	call := c.call(nil)
	other := c.overTCP(user("other"))
	other.allocate()
	slowest := time.Duration(0)
	granted := 0
	call.measure("500 ChannelBinds of one allocation", func() {
		scanner := c.overTCP(user("scanner"))
		scanner.allocate()
		for i := range 500 {
			peer := peerAttr(netip.AddrPortFrom(c.media.Addr(), uint16(10_000+i)))
			m := scanner.build(stun.MethodChannelBind, channelAttr(uint16(0x4000+i)), peer)
			if i < 12 {
				if answer, err := scanner.exchange(m); err == nil && errorCode(answer) == 0 {
					granted++
				}
			} else {
				scanner.send(m.Raw)
			}
			if i%50 == 0 {
				begin := time.Now()
				other.wantCode("another client's Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
				slowest = max(slowest, time.Since(begin))
			}
		}
	})
	t.Logf("%d channels were granted; another client's slowest answer took %v", granted, slowest)
	if granted > 9 { // the ninth ends the allocation
		t.Errorf("%d channels were granted, want at most 9", granted)
	}
	if slowest > time.Second {
		t.Errorf("another client's answer took %v", slowest)
	}
}

func TestAllocatingAndLeavingLeavesNothing(t *testing.T) {
	c := serve(t, nil)
	call := c.call(nil)
	round := func() {
		for i := range 300 {
			r := c.overUDP(user("a"), byte(100+i%5))
			r.allocate()
			r.wantCode("Refresh to 0", 0, stun.MethodRefresh, lifetimeAttr(0))
			_ = r.conn.Close()
		}
	}
	round() // pools and tables grow to their size
	descriptors, memory := c.descriptors(), c.memory()
	call.measure("300 allocations and leaves, one after the other", round)
	t.Logf("before: %d descriptors, %d MiB; after: %d, %d MiB", descriptors, memory>>20, c.descriptors(), c.memory()>>20)
	if n := c.descriptors(); n > descriptors+1 {
		t.Errorf("%d descriptors, before it were %d", n, descriptors)
	}
	if now := c.memory(); now > memory+32<<20 {
		t.Errorf("%d MiB of memory, before it were %d", now>>20, memory>>20)
	}
}

func TestSIGTERMEndsLiveRelaysAndTheProcess(t *testing.T) {
	c := serve(t, nil)
	var clients []*raw
	for i := range 20 {
		clients = append(clients, c.overUDP(user("u"), byte(i%4)), c.overTCP(user("t")))
	}
	for _, r := range clients {
		r.allocate()
		r.wantCode("ChannelBind", 0, stun.MethodChannelBind, channelAttr(0x4000), peerAttr(c.media))
	}
	took := c.stop()
	t.Logf("40 live relays: stopped %v after SIGTERM", took)
	if took > 10*time.Second {
		t.Errorf("the stop took %v with nobody in a call", took)
	}
	for _, r := range clients {
		if r.stream {
			r.wantClosed("a TCP connection of a stopped server", time.Second)
		}
	}
}

func TestQuotaOfASessionHoldsAndPlacesComeBack(t *testing.T) {
	const quota = 3
	c := serve(t, options{"turn.allocations_per_session": "3"})
	cred := c.session("greedy")
	var held []*raw
	for range quota {
		r := c.overTCP(cred)
		r.allocate()
		held = append(held, r)
	}
	one := c.overTCP(cred)
	one.wantCode("one more than the quota", 486, stun.MethodAllocate, relayUDP)
	held[0].wantCode("Refresh to 0", 0, stun.MethodRefresh, lifetimeAttr(0))
	one.wantCode("one in its place", 0, stun.MethodAllocate, relayUDP)
	_ = held[1].conn.Close() // without a word
	last := c.overTCP(cred)
	eventually(t, 5*time.Second, "a closed connection gives its place away", func() bool {
		code, _ := last.request(stun.MethodAllocate, relayUDP)
		return code == 0
	})
	c.overTCP(c.session("modest")).allocate()
}
