/** As useradd(8) takes them, and a little more: what is longer or holds other characters is nobody here and is written nowhere. */
const USER_NAME = /^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}$/

export function isUserName(name: string): boolean {
  return USER_NAME.test(name)
}

/** For logs: a name that is none becomes a dash, so that nobody writes lines by logging in. */
export function shownUser(name: string): string {
  return isUserName(name) ? name : '-'
}
