package e2e

import (
	"os"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/browser"
	"consilium/internal/config"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

func TestZZ(t *testing.T) {
	flash, _ := testmedia.Flash()
	l := start(t, func(c *config.Config) { c.HTTP.Address = []string{"0.0.0.0:27000"}; c.Media.Loopback = true; c.Media.TCPPort = 0 })
	begin := time.Now()
	l.url = "http://127.0.0.1:27000"
	l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: flash}
		c.KeepStep, c.Start = true, begin
	})
	l.url = "http://127.0.0.1:27001"
	kind := browser.Kind(os.Getenv("ZZ_KIND"))
	doctor := l.visit(browser.Start(t, browser.Options{Kind: kind}), "room", "doctor", auth.RoleDoctor,
		browser.PageOptions{Relay: onlyHTTP, AllowErrors: kind == browser.Firefox})
	doctor.join()
	doctor.sees("patient")
	doctor.WaitSound(sound)
	flashes, beeps := doctor.Onsets(picture("patient", "cam"), sound, 18*time.Second)
	seen, heard := sinceHalf(begin, flashes), sinceHalf(begin, beeps)
	if len(seen) < 3 || len(heard) < 3 {
		t.Fatalf("%d %d", len(seen), len(heard))
	}
	t.Logf("seen n=%d median %v p95 %v; heard n=%d median %v p95 %v", len(seen), seen[len(seen)/2], seen[len(seen)*95/100], len(heard), heard[len(heard)/2], heard[len(heard)*95/100])
}
