package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/media"
)

func TestICEIsLiteWithAPublicAddressUnlessTheConfigurationSaysOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		ice    string
		public []string
		want   bool
	}{
		"auto":                     {config.ICEAuto, nil, false},
		"auto, public address":     {config.ICEAuto, []string{"203.0.113.5"}, true},
		"full, public address":     {config.ICEFull, []string{"203.0.113.5"}, false},
		"lite, on a local network": {config.ICELite, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := iceLite(config.Media{ICE: c.ice, PublicAddresses: c.public}); got != c.want {
				t.Errorf("lite: %v, want %v", got, c.want)
			}
		})
	}
}

// TestWhoIsBesideAServerBehindNATReachesItDirectly has a public address where
// nobody listens, as on a network without hairpin.
func TestWhoIsBesideAServerBehindNATReachesItDirectly(t *testing.T) {
	const public = "127.0.0.99"
	for name, own := range map[string]bool{"both advertised": true, "own address hidden": false} {
		t.Run(name, func(t *testing.T) {
			i := start(t, func(c *config.Config) {
				c.Media.PublicAddresses, c.Media.OwnAddresses = []string{public}, own
			})
			// Only UDP to what the answer names: no relay, no ICE-TCP.
			direct := func(c *bot.Config) {
				c.Publish = []media.Source{media.Microphone}
				c.Settings = func(s *webrtc.SettingEngine) { s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4}) }
			}
			b := i.join("room", "doctor", auth.RoleDoctor, direct)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			switch err := b.WaitConnected(ctx); {
			case own && err != nil:
				t.Errorf("not connected: %v", err)
			case own && !strings.HasPrefix(b.Snapshot().Path, "host udp"):
				t.Errorf("path %q, want host udp", b.Snapshot().Path)
			case !own && err == nil:
				t.Errorf("connected by %q, although the own address is hidden", b.Snapshot().Path)
			}
		})
	}
}
