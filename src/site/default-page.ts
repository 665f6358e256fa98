/** What stands at the root of a site whose owner gave no folder: as plain as such pages are. */
export const DEFAULT_PAGE = `<!DOCTYPE html>
<html>
<head>
<title>Welcome</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto; font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome</h1>
<p>This server has been set up and has no pages of its own yet.</p>
</body>
</html>
`
