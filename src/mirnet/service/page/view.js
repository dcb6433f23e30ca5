// @ts-check
// Where a picture lies on the stage: pure geometry, in device pixels. A view is a scale (device pixels to one of the
// picture's) and the point of the picture that is in the middle of the stage.

/**
 * @typedef {{width: number, height: number}} Size
 * @typedef {{scale: number, x: number, y: number}} View
 */

const LARGEST_SCALE = 8;

/** The scale at which the whole picture is just seen. @param {Size} picture @param {Size} stage */
export function fittingScale(picture, stage) {
  return Math.min(stage.width / picture.width, stage.height / picture.height);
}

/** @returns {View} the whole picture, in the middle */
export function fitted(picture, stage) {
  return { scale: fittingScale(picture, stage), x: picture.width / 2, y: picture.height / 2 };
}

/** Whether there is something beside the stage, to which one could go. */
export const isZoomed = (view, picture, stage) => view.scale > fittingScale(picture, stage) * 1.001;

/** @returns {View} the nearest view that makes sense: nothing beside the picture is shown that need not be */
export function clamped(view, picture, stage) {
  const fitting = fittingScale(picture, stage);
  const scale = Math.min(Math.max(view.scale, Math.min(fitting, 1)), Math.max(LARGEST_SCALE, fitting));
  const within = (at, whole, seen) =>
    seen >= whole ? whole / 2 : Math.min(Math.max(at, seen / 2), whole - seen / 2);
  return {
    scale,
    x: within(view.x, picture.width, stage.width / scale),
    y: within(view.y, picture.height, stage.height / scale),
  };
}

/** @returns {View} another scale, at which the point of the stage (from its middle) shows what it shows now */
export function zoomedAbout(view, scale, point) {
  const shift = 1 / view.scale - 1 / scale;
  return { scale, x: view.x + point.x * shift, y: view.y + point.y * shift };
}

/** Where the picture's corner lies on the stage; on whole pixels, so that 1:1 shows pixels and not their mixture. */
export function corner(view, stage) {
  return {
    x: Math.round(stage.width / 2 - view.x * view.scale),
    y: Math.round(stage.height / 2 - view.y * view.scale),
  };
}

/** The part of the picture that is seen, in its own whole pixels: [x, y, width, height]. */
export function visibleRegion(view, picture, stage) {
  const from = (at, seen) => Math.max(0, Math.floor(at - seen / 2));
  const to = (at, seen, whole) => Math.min(whole, Math.ceil(at + seen / 2));
  const [wide, high] = [stage.width / view.scale, stage.height / view.scale];
  const [left, top] = [from(view.x, wide), from(view.y, high)];
  return [left, top, to(view.x, wide, picture.width) - left, to(view.y, high, picture.height) - top];
}

/** Whether two regions [x, y, width, height] have a pixel in common. */
export const meet = ([x, y, width, height], [left, top, wide, high]) =>
  x < left + wide && left < x + width && y < top + high && top < y + height;

/** What remains of a region without another: at most four, above, below, to the left and to the right of it. */
export function without(region, other) {
  if (!meet(region, other)) return [region];
  const [x, y, width, height] = region;
  const [right, bottom] = [x + width, y + height];
  const [left, top] = [Math.max(x, other[0]), Math.max(y, other[1])];
  const [end, foot] = [Math.min(right, other[0] + other[2]), Math.min(bottom, other[1] + other[3])];
  return [
    [x, y, width, top - y],
    [x, foot, width, bottom - foot],
    [x, top, left - x, foot - top],
    [end, top, right - end, foot - top],
  ].filter(([, , wide, high]) => wide > 0 && high > 0);
}
