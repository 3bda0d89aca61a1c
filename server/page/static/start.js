// Paint first, then load the other scripts.
requestAnimationFrame(() => setTimeout(() => document.head.append(document.getElementById("later").content)));
