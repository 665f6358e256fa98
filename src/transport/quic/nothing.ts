/** The callback before there is one, and the end of promises whose outcome nobody needs. */
export function nothing(): void {}
