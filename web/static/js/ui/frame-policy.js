// @ts-check
// Our page in a frame of another site gets no camera unless that site passes it
// on (Permissions Policy). A refusal is then not the person's.

/** @param {'mic' | 'cam'} source */
export function frameDenies(source) {
  if (self === top) return false;
  // Only Chromium can say for sure; elsewhere the frame is reason enough.
  /** @type {{allowsFeature(name: string): boolean} | undefined} */
  const policy = Reflect.get(document, 'featurePolicy');
  return !policy?.allowsFeature(source === 'mic' ? 'microphone' : 'camera');
}
