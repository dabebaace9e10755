/** Passwords in addresses ("http://me:secret@host"), as they come into error texts and logs: hidden as Go hides them. */

const PASSWORD = /([a-z][a-z0-9+.-]{0,20}:\/\/[^\s/?#:@"]*):[^\s/?#"]*@/gi;

/** The text with "xxxxx" in place of each password. */
export function hidePasswords(text: string): string {
  // Most texts have no address at all.
  return text.includes("://") ? text.replace(PASSWORD, "$1:xxxxx@") : text;
}
