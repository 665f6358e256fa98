/** It comes without types; what a test uses of it, the test says. */
declare module 'sshpk' {
  const sshpk: unknown
  export default sshpk
}
