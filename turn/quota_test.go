package turn

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// bind binds channel 0x4000+i to a port of its own of the SFU's address.
func (b *bench) bind(t *testing.T, c *raw, i int) {
	t.Helper()
	peer := peerAttr(netip.AddrPortFrom(b.media.Advertised()[0].Addr(), uint16(1000+i)))
	if code, _ := c.request(stun.MethodChannelBind, channelAttr(uint16(0x4000+i)), peer); code != 0 {
		t.Fatalf("ChannelBind %d: %d", i, code)
	}
}

func TestChannelsOfASessionAreCountedOverItsAllocations(t *testing.T) {
	b := start(t, func(c *Config) { c.PerSession.Channels = 6 })
	cred := b.mint(t, Session, "s1")
	first, second, other := b.client(t, cred), b.client(t, cred), b.client(t, b.mint(t, Session, "s2"))
	for _, c := range []*raw{first, second, other} {
		c.allocate()
		for i := range 3 {
			b.bind(t, c, i)
		}
	}
	b.bind(t, second, 3) // the seventh of the session
	b.relays(t, 2)
	if got := b.Stats(); got.Denied["channels"] != 1 || got.Channels != 6 || got.Permissions != 2 {
		t.Errorf("%d denied, %d channels and %d permissions; want 1, 6 and 2", got.Denied["channels"], got.Channels, got.Permissions)
	}
	for name, c := range map[string]*raw{"the session's first": first, "another's": other} {
		if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
			t.Errorf("Refresh of %s allocation: %d", name, code)
		}
	}
	b.bind(t, first, 4) // its place has come back
	b.relays(t, 2)
}

func TestPermissionsOfASessionAreLimited(t *testing.T) {
	b := start(t, func(c *Config) { c.PerSession.Permissions = 1 })
	cred := b.mint(t, Session, "s1")
	media := peerAttr(b.media.Advertised()[0])
	first, second := b.client(t, cred), b.client(t, cred)
	for _, c := range []*raw{first, second} {
		c.allocate()
		if code, _ := c.request(stun.MethodCreatePermission, media); code != 0 {
			t.Fatalf("CreatePermission: %d", code)
		}
	}
	b.relays(t, 1)
	if got := b.Stats(); got.Denied["permissions"] != 1 || got.Permissions != 1 {
		t.Errorf("%d denied and %d permissions, want 1 and 1", got.Denied["permissions"], got.Permissions)
	}
	if code, _ := first.request(stun.MethodCreatePermission, media); code != 0 {
		t.Errorf("a permission that is there already: %d", code)
	}
}

func TestChannelsOfAllTogetherAreLimited(t *testing.T) {
	b := start(t, func(c *Config) { c.Total.Channels = 4 })
	first, second := b.client(t, b.mint(t, Session, "s1")), b.client(t, b.mint(t, Session, "s2"))
	first.allocate()
	second.allocate()
	for i := range 4 {
		b.bind(t, first, i)
	}
	b.bind(t, second, 0)
	b.relays(t, 1)
	if got := b.Stats(); got.Denied["capacity"] != 1 || got.Channels != 4 {
		t.Errorf("%d denied and %d channels, want 1 and 4", got.Denied["capacity"], got.Channels)
	}
	if code, _ := first.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Fatalf("Refresh to zero: %d", code)
	}
	eventually(t, "nothing is held", func() bool { s := b.Stats(); return s.Channels == 0 && s.Permissions == 0 })
}

func TestBandwidthOfAllTogetherIsCapped(t *testing.T) {
	b := start(t, func(c *Config) { c.Total.Bandwidth = 8 * 1000 }) // a burst of 64 KiB, and then next to nothing
	media := b.media.Advertised()[0]
	const clients, each, size = 4, 40, 1000
	for _, id := range []string{"s1", "s2", "s3", "s4"} {
		c := b.client(t, b.mint(t, Session, id))
		c.allocate()
		if code, _ := c.request(stun.MethodCreatePermission, peerAttr(media)); code != 0 {
			t.Fatalf("CreatePermission: %d", code)
		}
		for range each {
			c.sendTo(media, make([]byte, size))
		}
	}
	eventually(t, "all are relayed or dropped", func() bool {
		s := b.Stats()
		return s.BytesFromClient/size+s.Dropped["bandwidth_total"] == clients*each
	})
	if s := b.Stats(); s.BytesFromClient > 80_000 || s.BytesFromClient < 60_000 || s.Dropped["bandwidth"] != 0 {
		t.Errorf("%d bytes passed, %d drops of one session; want a burst of 64 KiB and none", s.BytesFromClient, s.Dropped["bandwidth"])
	}
}
