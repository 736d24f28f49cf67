package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/media"
)

// TestThirtyPeopleBehindOneAddressJoinWithinTenSeconds lets a branch office
// join at the same moment: fifteen calls of two, from one address, with the
// limits that a server has by default. They only talk, which is all that one
// machine can do for thirty people and their server at once.
func TestThirtyPeopleBehindOneAddressJoinWithinTenSeconds(t *testing.T) {
	const calls, limit = 15, 10 * time.Second
	for name, way := range map[string]struct {
		path string // prefix of Snapshot.Path
		edit func(*bot.Config)
	}{
		"every path gathered": {"host ", func(c *bot.Config) { c.EveryPath = true }},
		"ICE-TCP": {"host tcp", func(c *bot.Config) {
			c.Settings = func(s *webrtc.SettingEngine) { s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) }
		}},
		"TURN over TCP": {"relay tcp", func(c *bot.Config) { c.Relay, c.RelayProtocol = true, "tcp" }},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, nil)
			began := time.Now()
			var bots sync.Map // of *bot.Bot, by the identity of the other one
			for i := range calls {
				room := fmt.Sprintf("room-%d", i)
				patient, doctor := fmt.Sprintf("patient-%d", i), fmt.Sprintf("doctor-%d", i)
				edit := func(c *bot.Config) {
					c.Publish = []media.Source{media.Microphone}
					way.edit(c)
				}
				bots.Store(doctor, l.bot(room, patient, auth.RolePatient, edit))
				bots.Store(patient, l.bot(room, doctor, auth.RoleDoctor, edit))
			}
			ctx := l.context(limit)
			bots.Range(func(other, b any) bool {
				if err := b.(*bot.Bot).WaitFrames(ctx, other.(string), media.Microphone, 10); err != nil {
					t.Error(err)
				} else if path := b.(*bot.Bot).Snapshot().Path; !strings.HasPrefix(path, way.path) {
					t.Errorf("path %q, want %q", path, way.path)
				}
				return true
			})
			t.Logf("all hear each other after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}
